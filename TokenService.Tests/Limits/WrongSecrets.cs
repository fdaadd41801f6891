using System.Globalization;
using Microsoft.AspNetCore.Hosting;
using Microsoft.Extensions.DependencyInjection;
using TokenService.Authentication;
using TokenService.Clients;
using TokenService.Limits;
using TokenService.Secrets;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Limits;

/// <summary>
/// Wrong secrets that had to be hashed are counted, for whom they were tried on and for where they came from; over either budget the next
/// is refused before it is hashed. Here three for one client, five for one address; nobody else pays for them.
/// </summary>
[TestFixture, Rfc(6749, "2.3.1"), Rfc(6749, "2.3.1e")]
public sealed class WrongSecrets
{
    private const string Imported = "the right secret of another system";

    private readonly HashingGate hashing = new();
    private Database database = null!;
    private TestServer server = null!;
    private int number;

    [OneTimeSetUp]
    public async Task StartServer()
    {
        database = await Database.CreateAsync();
        server = await TestServer.StartAsync(
            database.ConnectionString, new FakeClock(),
            services => services.AddSingleton(_ => hashing.NewThreads()).AddSingleton<IStartupFilter, PeerFilter>(),
            $"Hashing:MemoryKiB={Database.Cheap.MemoryKiB}", $"Hashing:Iterations={Database.Cheap.Iterations}",
            "Limits:FailuresPerClient=3", "Limits:FailuresPerSource=5", "Proxies=192.0.2.0/24");
        await server.IsListeningAsync();
    }

    [OneTimeTearDown]
    public async Task StopServer()
    {
        hashing.Open();
        await (server?.DisposeAsync() ?? ValueTask.CompletedTask);
        hashing.Dispose();
        await (database?.DisposeAsync() ?? ValueTask.CompletedTask);
    }

    // A caller cannot tell by it which ids there are, and how they authenticate.
    [TestCase("unknown")]
    [TestCase("generated")]
    [TestCase("imported")]
    [TestCase("disabled")]
    [TestCase("by post")]
    [Rfc(6749, "5.2f")]
    public async Task Every_id_gets_the_same_answers_all_along_the_way(string kind)
    {
        var id = $"some-{++number}";
        if (kind != "unknown")
            await CreateAsync(id, kind);

        for (var i = 0; i < 3; i++)
            (await TryAsync(id, $"guess {i}", Address(i))).IsInvalidClient();
        for (var i = 0; i < 3; i++)
            IsTooMany(await TryAsync(id, $"guess {i}", Address(i)), seconds: 20);

        server.Clock.Advance(TimeSpan.FromSeconds(19.5));
        IsTooMany(await TryAsync(id, "a later guess", Address(4)), seconds: 1);
        server.Clock.Advance(TimeSpan.FromSeconds(0.5));
        (await TryAsync(id, "a later guess", Address(4))).IsInvalidClient();
        IsTooMany(await TryAsync(id, "a later guess", Address(4)), seconds: 20);

        server.Clock.Advance(TimeSpan.FromMinutes(1));
        for (var i = 0; i < 3; i++)
            (await TryAsync(id, $"guess {i}", Address(i))).IsInvalidClient();
        IsTooMany(await TryAsync(id, "one more guess", Address(3)), seconds: 20);
    }

    [Test]
    public async Task An_address_has_a_budget_of_its_own()
    {
        var address = Address();
        for (var i = 0; i < 5; i++)
            (await TryAsync($"anybody-{++number}", "a guess", address)).IsInvalidClient();

        IsTooMany(await TryAsync($"anybody-{++number}", "a guess", address), seconds: 12);
        (await TryAsync($"anybody-{++number}", "a guess", Address())).IsInvalidClient();
        server.Clock.Advance(TimeSpan.FromSeconds(12));
        (await TryAsync($"anybody-{++number}", "a guess", address)).IsInvalidClient();
        IsTooMany(await TryAsync($"anybody-{++number}", "a guess", address), seconds: 12);
    }

    [TestCase("2001:db8:0:{0}::1", "2001:db8:0:{0}:ffff:ffff:ffff:ffff", true, Description = "One /64.")]
    [TestCase("2001:db8:1:{0}::1", "2001:db8:2:{0}::1", false)]
    [TestCase("203.0.113.{0}", "::ffff:203.0.113.{0}", true, Description = "How a socket for both families writes it.")]
    [TestCase("::ffff:198.18.1.{0}", "::ffff:198.18.2.{0}", false)]
    public async Task One_address_is_one_however_it_is_written(string first, string second, bool isOne)
    {
        number++;
        for (var i = 0; i < 5; i++)
            (await TryAsync($"anybody-{++number}", "a guess", Named(first))).IsInvalidClient();
        var answer = await TryAsync($"anybody-{++number}", "a guess", Named(second));
        if (isOne)
            IsTooMany(answer, seconds: 12);
        else
            answer.IsInvalidClient();

        string Named(string address) => string.Format(CultureInfo.InvariantCulture, address, 77);
    }

    // Or anybody could choose a new address for each guess.
    [TestCase("192.0.2.7", false, Description = "A proxy that is listed.")]
    [TestCase("198.51.100.7", true)]
    public async Task An_address_that_is_forwarded_counts_only_from_a_listed_proxy(string peer, bool isPeerCounted)
    {
        for (var i = 0; i < 5; i++)
            (await FromAsync(peer, $"203.0.113.{100 + i}")).IsInvalidClient();
        var answer = await FromAsync(peer, "203.0.113.110");
        if (isPeerCounted)
            IsTooMany(answer, seconds: 12);
        else
            answer.IsInvalidClient();

        Task<Answer> FromAsync(string peer, string forwarded) => TokenRequestBuilder
            .For(new TestClient($"anybody-{++number}", "a guess"))
            .WithHeader(PeerFilter.Header, peer).WithHeader("X-Forwarded-For", forwarded).SendAsync(server);
    }

    [Test]
    public async Task Over_the_budget_nothing_is_hashed()
    {
        var (id, address) = ($"some-{++number}", Address());
        await ExhaustAsync(id, address);
        var before = hashing.Count;

        for (var i = 0; i < 5; i++)
            IsTooMany(await TryAsync(id, "a guess", address), seconds: 20);
        Assert.That(hashing.Count, Is.EqualTo(before));
    }

    // What costs no hash tells a guesser nothing, and is not counted.
    [Test]
    public async Task A_secret_that_names_no_row_or_is_damaged_is_refused_as_often_as_it_comes()
    {
        var (client, address) = (await CreateAsync($"some-{++number}", "imported"), Address());
        var before = hashing.Count;
        for (var i = 0; i < 10; i++)
        {
            (await TryAsync(client.Id, GeneratedSecret.Create().Value, address)).IsInvalidClient();
            (await TryAsync(client.Id, client.Secret[..^1], address)).IsInvalidClient();
        }

        Assert.That(hashing.Count, Is.EqualTo(before));
        (await TryAsync(client.Id, Imported, address)).IsGrant("invoices:read");
    }

    [Test]
    public async Task A_secret_that_is_right_costs_nothing_of_the_budget()
    {
        var (client, address) = (await CreateAsync($"some-{++number}", "imported"), Address());
        for (var i = 0; i < 10; i++)
        {
            (await TryAsync(client.Id, Imported, address)).IsGrant("invoices:read");
            (await TryAsync(client.Id, client.Secret, address)).IsGrant("invoices:read");
        }

        await ExhaustAsync(client.Id, address);
    }

    // Its address and its id are as bad as can be.
    [Test]
    public async Task A_client_that_is_recognised_is_untouched()
    {
        var (client, address) = (await CreateAsync($"some-{++number}", "imported"), Address());
        (await TryAsync(client.Id, Imported, address)).IsGrant("invoices:read");
        (await TryAsync(client.Id, client.Secret, address)).IsGrant("invoices:read");

        await ExhaustAsync(client.Id, address);
        await ExhaustAsync($"other-{number}", address, left: 2);
        (await TryAsync(client.Id, Imported, address)).IsGrant("invoices:read");
        (await TryAsync(client.Id, client.Secret, address)).IsGrant("invoices:read");
    }

    [Test]
    public async Task A_client_that_was_recognised_before_is_untouched()
    {
        var (client, address) = (await CreateAsync($"some-{++number}", "imported"), Address());
        (await TryAsync(client.Id, Imported, address)).IsGrant("invoices:read");
        server.Clock.Advance(TimeSpan.FromMinutes(15));
        await server.IsListeningAsync(() => server.Clock.Advance(TimeSpan.FromMilliseconds(100)));

        await ExhaustAsync(client.Id, address);
        (await TryAsync(client.Id, Imported, address)).IsGrant("invoices:read");
    }

    [Test]
    public async Task A_generated_secret_is_untouched_the_first_time_too()
    {
        var (client, address) = (await CreateAsync($"some-{++number}", "imported"), Address());
        await ExhaustAsync(client.Id, address);
        await ExhaustAsync($"other-{number}", address, left: 2);
        (await TryAsync(client.Id, client.Secret, address)).IsGrant("invoices:read");
    }

    // Whoever knows the selector may guess at that row alone.
    [Test]
    public async Task Of_generated_secrets_each_row_has_a_budget()
    {
        var (client, address) = (await CreateAsync($"some-{++number}", "generated"), Address());
        var wrong = GeneratedSecret.Create();
        await database.ExecuteAsync(
            "select token_service.add_secret(@Id, @Selector, @digest)", new { client.Id, wrong.Selector, digest = Database.Digest("another") });

        for (var i = 0; i < 3; i++)
            (await TryAsync(client.Id, wrong.Value, Address())).IsInvalidClient();
        IsTooMany(await TryAsync(client.Id, wrong.Value, Address()), seconds: 20);
        (await TryAsync(client.Id, client.Secret, address)).IsGrant("invoices:read");
    }

    [Test]
    public async Task A_caller_who_does_not_wait_for_the_answer_is_counted()
    {
        var client = await CreateAsync($"some-{++number}", "imported");
        var authenticator = server.Services.GetRequiredService<ClientAuthenticator>();
        await server.HasReceivedNotificationsAsync();
        await server.Services.GetRequiredService<ClientCache>().FindAsync(client.Id, CancellationToken.None);
        var before = hashing.Count;
        for (var i = 1; i <= 3; i++)
        {
            hashing.Close();
            using var gone = new CancellationTokenSource();
            var guess = new ClientCredentials.Basic(client.Id, PresentedSecret.Parse($"guess {i}"));
            var answering = authenticator.AuthenticateAsync(guess, source: null, gone.Token).AsTask();
            await gone.CancelAsync();
            await Assert.ThatAsync(() => answering, Throws.InstanceOf<OperationCanceledException>());
            hashing.Open();
        }

        var failures = server.Services.GetRequiredService<FailedAttemptLimiter>();
        Assert.That(failures.Begin(new Attempt(client.Id, Source: null)).TryGet(out _, out _), Is.False);
    }

    [Test]
    public async Task Guesses_at_once_are_no_more_than_the_budget()
    {
        var client = await CreateAsync($"some-{++number}", "imported");
        await server.HasReceivedNotificationsAsync();
        await server.Services.GetRequiredService<ClientCache>().FindAsync(client.Id, CancellationToken.None);
        var authenticator = server.Services.GetRequiredService<ClientAuthenticator>();
        var before = hashing.Count;
        hashing.Close();
        var guesses = Enumerable.Range(0, 20).Select(i => authenticator.AuthenticateAsync(
            new ClientCredentials.Basic(client.Id, PresentedSecret.Parse($"guess {i}")), source: null, CancellationToken.None).AsTask()).ToList();
        hashing.Open();
        await Task.WhenAll(guesses);
        Assert.That(hashing.Count - before, Is.EqualTo(3));
    }

    private async Task ExhaustAsync(string id, string address, int left = 3)
    {
        for (var i = 0; i < left; i++)
            (await TryAsync(id, $"guess {i}", address)).IsInvalidClient();
        Assert.That((await TryAsync(id, "one guess more", address)).Status, Is.EqualTo(429));
    }

    private Task<Answer> TryAsync(string id, string secret, string address) =>
        TokenRequestBuilder.For(new TestClient(id, secret)).WithHeader("X-Forwarded-For", address).SendAsync(server);

    private async Task<TestClient> CreateAsync(string id, string kind)
    {
        var client = await database.CreateClientAsync(id, methods: kind == "by post" ? "client_secret_post" : "client_secret_basic");
        if (kind != "generated")
            await database.AddSecretAsync(id, Imported);
        if (kind == "disabled")
            await database.ExecuteAsync("select token_service.set_client_enabled(@id, false)", new { id });
        return client;
    }

    // One that no other test uses.
    private string Address(int of = 0) => $"10.{of}.{number / 200}.{number++ % 200}";

    private static void IsTooMany(Answer answer, int seconds) => answer.IsError(
        429, "temporarily_unavailable", "Too many failed attempts. Ask again later.", ("Retry-After", $"{seconds}"));
}
