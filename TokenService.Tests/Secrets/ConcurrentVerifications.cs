using Microsoft.Extensions.DependencyInjection;
using TokenService.Authentication;
using TokenService.Clients;
using TokenService.Protocol;
using TokenService.Secrets;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Secrets;

/// <summary>Secrets that are verified at the same time, and the client that a wrong secret counts against.</summary>
[TestFixture]
public sealed class ConcurrentVerifications
{
    private const string Older = "an older secret of another system";
    private const string Newer = "a newer secret of another system";

    private readonly HashingGate hashing = new();
    private Database database = null!;
    private TestServer server = null!;
    private TestClient client = null!;
    private int number;

    [OneTimeSetUp]
    public async Task StartServer()
    {
        database = await Database.CreateAsync();
        server = await TestServer.StartAsync(
            database.ConnectionString, new FakeClock(), services => services.AddSingleton(_ => hashing.NewThreads()),
            $"Hashing:MemoryKiB={Database.Cheap.MemoryKiB}", $"Hashing:Iterations={Database.Cheap.Iterations}",
            "Limits:FailuresPerClient=3", "Limits:FailuresPerSource=10000");
        await server.IsListeningAsync();
    }

    [OneTimeTearDown]
    public async Task StopServer()
    {
        hashing.Open();
        await server.DisposeAsync();
        hashing.Dispose();
        await database.DisposeAsync();
    }

    [SetUp]
    public async Task CreateClient() => client = await database.CreateClientAsync($"client-{++number}");

    [TearDown]
    public void OpenHashingGate() => hashing.Open();

    // A request after the revocation joins a verification that began before it.
    [Test]
    public async Task An_imported_secret_that_is_revoked_while_it_is_hashed_is_refused_to_a_later_request()
    {
        await database.AddSecretAsync(client.Id, Older);
        await database.AddSecretAsync(client.Id, Newer);
        await server.HasReceivedNotificationsAsync();
        var found = await FindAsync(client.Id);
        var last = found!.Secrets.Last(secret => secret.IsImported);
        // Secrets created at the same time are ordered by their random ids, so either of the two may be the last.
        var isOlder = Run.Hasher.Matches(Older, last.Digest) is true;
        var presented = client with { Secret = isOlder ? Older : Newer };

        var before = hashing.Count;
        hashing.Close();
        var first = AuthenticateAsync(presented);
        await hashing.HoldsAsync(before + 1);
        await database.ExecuteAsync("update token_service.client_secret set revoked_at = now() where id = @Id", new { last.Id });
        await server.HasReceivedNotificationsAsync();
        await FindAsync(client.Id);
        var later = AuthenticateAsync(presented);
        hashing.Open();
        await first;
        Assert.That((await later).TryGet(out _, out _), Is.False);
    }

    [Test]
    public async Task Concurrent_wrong_secrets_are_hashed_at_most_FailuresPerClient_times()
    {
        await database.AddSecretAsync(client.Id, Newer);
        await server.HasReceivedNotificationsAsync();
        await FindAsync(client.Id);
        var before = hashing.Count;
        hashing.Close();
        var guesses = Enumerable.Range(0, 20).Select(i => AuthenticateAsync(client with { Secret = $"guess {i}" })).ToList();
        hashing.Open();
        await Task.WhenAll(guesses);
        Assert.That(hashing.Count - before, Is.EqualTo(3));
    }

    [Test]
    public async Task Wrong_secrets_do_not_lock_out_a_client_whose_verified_secret_must_be_hashed_again()
    {
        await database.AddSecretAsync(client.Id, Newer);
        var imported = client with { Secret = Newer };
        (await TokenRequestBuilder.For(imported).SendAsync(server)).IsGrant("invoices:read");
        server.Clock.Advance(TimeSpan.FromMinutes(15));
        await server.IsListeningAsync(() => server.Clock.Advance(TimeSpan.FromMilliseconds(100)));
        for (var i = 0; i < 4; i++)
            await TokenRequestBuilder.For(client with { Secret = $"guess {i}" }).SendAsync(server);
        (await TokenRequestBuilder.For(imported).SendAsync(server)).IsGrant("invoices:read");
    }

    // If unknown clients cost fewer hashes than known ones, the duration would tell them apart.
    [Test]
    public async Task Two_unknown_clients_cost_as_many_hashes_as_two_known_ones()
    {
        var (one, two) = ($"unknown-{number}-1", $"unknown-{number}-2");
        await FindAsync(one);
        await FindAsync(two);
        var before = hashing.Count;
        hashing.Close();
        var (first, second) = (AuthenticateAsync(new TestClient(one, "a guess")), AuthenticateAsync(new TestClient(two, "a guess")));
        hashing.Open();
        await Task.WhenAll(first, second);
        Assert.That(hashing.Count - before, Is.EqualTo(2));
    }

    [Test]
    public async Task A_verified_secret_is_refused_when_the_cost_in_its_digest_changes()
    {
        (await TokenRequestBuilder.For(client).SendAsync(server)).IsGrant("invoices:read");
        await database.ExecuteAsync(
            "update token_service.client_secret set digest = replace(digest, 't=1,', 't=2,') where client_id = @Id", client);
        await server.HasReceivedNotificationsAsync();
        (await TokenRequestBuilder.For(client).SendAsync(server)).IsInvalidClient();
    }

    [Test]
    public async Task Wrong_secrets_for_a_client_named_like_a_selector_do_not_count_against_the_secret_with_it()
    {
        var selector = client.Secret[5..17];
        for (var i = 0; i < 4; i++)
            await TokenRequestBuilder.For(new TestClient(selector, $"guess {i}")).SendAsync(server);
        (await TokenRequestBuilder.For(client).SendAsync(server)).IsGrant("invoices:read");
    }

    private async Task<Client?> FindAsync(string id) =>
        await server.Services.GetRequiredService<ClientCache>().FindAsync(id, CancellationToken.None);

    private async Task<Result<AuthenticatedClient>> AuthenticateAsync(TestClient presented) =>
        (await server.Services.GetRequiredService<ClientAuthenticator>().AuthenticateAsync(
            new ClientCredentials.Basic(presented.Id, PresentedSecret.Parse(presented.Secret)), source: null, CancellationToken.None)).Result;
}
