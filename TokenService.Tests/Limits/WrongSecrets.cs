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
/// The server counts wrong secrets that had to be hashed, for each client and for each address. Over either rate limit
/// the next secret is refused before it is hashed. Here the limits are three for one client from one address and five
/// for one address; other clients and addresses are not affected.
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
            "Limits:FailuresPerClient=3", "Limits:FailuresPerSource=5", "Proxies:0=192.0.2.0/24", "Proxies:1=127.0.0.1");
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

    // A caller cannot tell from the answers which ids exist and how they authenticate.
    [TestCase("unknown")]
    [TestCase("generated")]
    [TestCase("imported")]
    [TestCase("disabled")]
    [TestCase("by post")]
    [Rfc(6749, "5.2f")]
    public async Task Every_id_gets_the_same_answers_up_to_the_rate_limit_and_beyond_it(string kind)
    {
        var id = $"some-{++number}";
        if (kind != "unknown")
            await CreateAsync(id, kind);

        var address = Address();
        for (var i = 0; i < 3; i++)
            (await TryAsync(id, $"guess {i}", address)).IsInvalidClient();
        for (var i = 0; i < 3; i++)
            IsTooMany(await TryAsync(id, $"guess {i}", address), seconds: 20);

        server.Clock.Advance(TimeSpan.FromSeconds(19.5));
        IsTooMany(await TryAsync(id, "a later guess", address), seconds: 1);
        server.Clock.Advance(TimeSpan.FromSeconds(0.5));
        (await TryAsync(id, "a later guess", address)).IsInvalidClient();
        IsTooMany(await TryAsync(id, "a later guess", address), seconds: 20);

        server.Clock.Advance(TimeSpan.FromMinutes(1));
        for (var i = 0; i < 3; i++)
            (await TryAsync(id, $"guess {i}", address)).IsInvalidClient();
        IsTooMany(await TryAsync(id, "one more guess", address), seconds: 20);
    }

    [TestCase("unknown")]
    [TestCase("imported")]
    public async Task All_addresses_together_have_ten_times_the_limit_and_those_that_have_not_failed_a_reserve(string kind)
    {
        var id = $"some-{++number}";
        if (kind != "unknown")
            await CreateAsync(id, kind);
        var guessing = Enumerable.Range(0, 11).Select(_ => Address()).ToList();
        for (var i = 0; i < 30; i++)
            (await TryAsync(id, $"guess {i}", guessing[i / 3])).IsInvalidClient();
        // The address has failed, though not at this client.
        (await TryAsync($"other-{number}", "a guess", guessing[10])).IsInvalidClient();
        IsTooMany(await TryAsync(id, "a guess", guessing[10]), seconds: 2);

        for (var i = 0; i < 3; i++)
            (await TryAsync(id, $"a guess {i}", Address())).IsInvalidClient();
        IsTooMany(await TryAsync(id, "a guess", Address()), seconds: 2);

        // Ten minutes later, nobody has failed lately.
        server.Clock.Advance(TimeSpan.FromMinutes(10));
        (await TryAsync(id, "a guess", guessing[10])).IsInvalidClient();
    }

    // The first use of this secret, which has to be hashed.
    [Test]
    public async Task The_right_secret_gets_in_while_another_address_guesses()
    {
        var (client, guessing) = (await CreateAsync($"some-{++number}", "imported"), Address());
        for (var i = 0; i < 80; i++)
            await TryAsync(client.Id, $"guess {i}", guessing);
        Assert.That((await TryAsync(client.Id, "one guess more", guessing)).Status, Is.EqualTo(429));

        var address = Address();
        (await TryAsync(client.Id, "a mistake", address)).IsInvalidClient();
        (await TryAsync(client.Id, Imported, address)).IsGrant("invoices:read");
    }

    // Otherwise one address could keep the queue full for as long as it likes, each time under another invented id.
    [Test]
    public async Task An_address_whose_secrets_find_the_queue_full_uses_up_its_rate_limit()
    {
        var queue = server.Services.GetRequiredService<HashingQueue>();
        var digest = new Argon2Digest(Database.Cheap, new byte[Argon2Digest.SaltLength], new byte[Argon2Digest.HashLength]);
        var before = hashing.Count;
        hashing.Close();
        // One secret is about to be hashed, and as many wait as there is room for.
        List<Task> waiting = [queue.MatchesAsync("x", digest, HashingPriority.Other)];
        await hashing.HoldsAsync(before + 1);
        waiting.AddRange(Enumerable.Range(0, 64).Select(_ => queue.MatchesAsync("x", digest, HashingPriority.SourceWithoutFailures)));
        waiting.AddRange(Enumerable.Range(0, 64).Select(_ => queue.MatchesAsync("x", digest, HashingPriority.Other)));

        for (var i = 0; i < 5; i++)
            Assert.That((await TryAsync($"invented-{++number}", "a guess", "198.51.100.77")).Status, Is.EqualTo(503));
        IsTooMany(await TryAsync($"invented-{++number}", "a guess", "198.51.100.77"), seconds: 12);
        // The client that was named is not to blame.
        Assert.That((await TryAsync($"invented-{number}", "a guess", "198.51.100.78")).Status, Is.EqualTo(503));

        hashing.Open();
        await Task.WhenAll(waiting);
    }

    [Test]
    public async Task An_address_has_a_rate_limit_of_its_own()
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
    [TestCase("203.0.113.{0}", "::ffff:203.0.113.{0}", true,
        Description = "A dual-stack socket writes IPv4 addresses in this form.")]
    [TestCase("::ffff:198.18.1.{0}", "::ffff:198.18.2.{0}", false)]
    public async Task Several_spellings_of_one_address_share_one_rate_limit(string first, string second, bool isSame)
    {
        number++;
        for (var i = 0; i < 5; i++)
            (await TryAsync($"anybody-{++number}", "a guess", Named(first))).IsInvalidClient();
        var answer = await TryAsync($"anybody-{++number}", "a guess", Named(second));
        if (isSame)
            IsTooMany(answer, seconds: 12);
        else
            answer.IsInvalidClient();

        string Named(string address) => string.Format(CultureInfo.InvariantCulture, address, 77);
    }

    // Otherwise a caller could claim a new address for each guess.
    [TestCase("192.0.2.7", false, Description = "A proxy that is listed.")]
    [TestCase("198.51.100.7", true)]
    [TestCase("::1", true)]
    public async Task A_forwarded_address_counts_only_from_a_listed_proxy(string peer, bool isPeerCounted)
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
    public async Task A_secret_over_the_rate_limit_is_not_hashed()
    {
        var (id, address) = ($"some-{++number}", Address());
        await ExhaustAsync(id, address);
        var before = hashing.Count;

        for (var i = 0; i < 5; i++)
            IsTooMany(await TryAsync(id, "a guess", address), seconds: 20);
        Assert.That(hashing.Count, Is.EqualTo(before));
    }

    // A secret that costs no hash tells a guesser nothing, so it is not counted.
    [Test]
    public async Task A_damaged_secret_or_one_with_an_unknown_selector_is_not_counted()
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
    public async Task A_right_secret_is_not_counted()
    {
        var (client, address) = (await CreateAsync($"some-{++number}", "imported"), Address());
        for (var i = 0; i < 10; i++)
        {
            (await TryAsync(client.Id, Imported, address)).IsGrant("invoices:read");
            (await TryAsync(client.Id, client.Secret, address)).IsGrant("invoices:read");
        }

        await ExhaustAsync(client.Id, address);
    }

    // Both the id and the address of this client are over their rate limits.
    [Test]
    public async Task A_client_with_a_verified_secret_is_not_limited()
    {
        var (client, address) = (await CreateAsync($"some-{++number}", "imported"), Address());
        (await TryAsync(client.Id, Imported, address)).IsGrant("invoices:read");
        (await TryAsync(client.Id, client.Secret, address)).IsGrant("invoices:read");

        await ExhaustAsync(client.Id, address);
        await ExhaustAsync($"other-{number}", address, remaining: 2);
        (await TryAsync(client.Id, Imported, address)).IsGrant("invoices:read");
        (await TryAsync(client.Id, client.Secret, address)).IsGrant("invoices:read");
    }

    [Test]
    public async Task A_client_whose_secret_was_verified_earlier_is_not_limited()
    {
        var (client, address) = (await CreateAsync($"some-{++number}", "imported"), Address());
        (await TryAsync(client.Id, Imported, address)).IsGrant("invoices:read");
        server.Clock.Advance(TimeSpan.FromMinutes(15));
        await server.IsListeningAsync(() => server.Clock.Advance(TimeSpan.FromMilliseconds(100)));

        await ExhaustAsync(client.Id, address);
        (await TryAsync(client.Id, Imported, address)).IsGrant("invoices:read");
    }

    [Test]
    public async Task A_generated_secret_is_not_limited_even_the_first_time()
    {
        var (client, address) = (await CreateAsync($"some-{++number}", "imported"), Address());
        await ExhaustAsync(client.Id, address);
        await ExhaustAsync($"other-{number}", address, remaining: 2);
        (await TryAsync(client.Id, client.Secret, address)).IsGrant("invoices:read");
    }

    // A caller that knows a selector can guess only at the secret with that selector.
    [Test]
    public async Task Each_generated_secret_has_a_rate_limit_of_its_own()
    {
        var (client, address) = (await CreateAsync($"some-{++number}", "generated"), Address());
        var wrong = GeneratedSecret.Create();
        await database.ExecuteAsync(
            "select token_service.add_secret(@Id, @Selector, @digest)",
            new { client.Id, wrong.Selector, digest = Database.Digest("another") });

        for (var i = 0; i < 3; i++)
            (await TryAsync(client.Id, wrong.Value, address)).IsInvalidClient();
        IsTooMany(await TryAsync(client.Id, wrong.Value, address), seconds: 20);
        (await TryAsync(client.Id, client.Secret, address)).IsGrant("invoices:read");
    }

    [Test]
    public async Task A_guess_of_a_caller_that_disconnects_is_counted()
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
        Assert.That(failures.TryBegin(new Attempt(client.Id, Source: null), out _, out _), Is.False);
    }

    [Test]
    public async Task Concurrent_guesses_do_not_exceed_the_rate_limit()
    {
        var client = await CreateAsync($"some-{++number}", "imported");
        await server.HasReceivedNotificationsAsync();
        await server.Services.GetRequiredService<ClientCache>().FindAsync(client.Id, CancellationToken.None);
        var authenticator = server.Services.GetRequiredService<ClientAuthenticator>();
        var before = hashing.Count;
        hashing.Close();
        var guesses = Enumerable.Range(0, 20).Select(i => authenticator.AuthenticateAsync(
            new ClientCredentials.Basic(client.Id, PresentedSecret.Parse($"guess {i}")), source: null,
            CancellationToken.None).AsTask()).ToList();
        hashing.Open();
        await Task.WhenAll(guesses);
        Assert.That(hashing.Count - before, Is.EqualTo(3));
    }

    private async Task ExhaustAsync(string id, string address, int remaining = 3)
    {
        for (var i = 0; i < remaining; i++)
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

    // An address that no other test uses.
    private string Address(int of = 0) => $"10.{of}.{number / 200}.{number++ % 200}";

    private static void IsTooMany(Answer answer, int seconds) => answer.IsError(
        429, "temporarily_unavailable",
            "Too many failed attempts. Retry-After says when to ask again.", ("Retry-After", $"{seconds}"));
}
