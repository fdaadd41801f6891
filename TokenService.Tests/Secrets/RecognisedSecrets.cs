using Microsoft.Extensions.DependencyInjection;
using TokenService.Authentication;
using TokenService.Clients;
using TokenService.Protocol;
using TokenService.Secrets;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Secrets;

/// <summary>
/// A verified secret is recognised without hashing it again, until SecretMemory has passed (if it is imported) or its
/// row or client changes.
/// </summary>
[TestFixture]
public sealed class RecognisedSecrets
{
    private const string Imported = "a secret of another system";
    private const string Older = "an older secret of another system";

    private static readonly TimeSpan SecretMemory = TimeSpan.FromMinutes(15);
    private static readonly TimeSpan Instant = TimeSpan.FromMilliseconds(1);

    private static readonly Argon2Digest Cheap =
        new(Database.Cheap, new byte[Argon2Digest.SaltLength], new byte[Argon2Digest.HashLength]);

    private readonly HashingGate hashing = new();
    private Database database = null!;
    private TestServer server = null!;
    private TestClient client = null!;
    private int number;

    private ClientCache Clients => server.Services.GetRequiredService<ClientCache>();

    [OneTimeSetUp]
    public async Task StartServer()
    {
        database = await Database.CreateAsync();
        server = await TestServer.StartAsync(
            database.ConnectionString, new FakeClock(), services => services.AddSingleton(_ => hashing.NewThreads(queueLength: 4)),
            $"Hashing:MemoryKiB={Database.Cheap.MemoryKiB}", $"Hashing:Iterations={Database.Cheap.Iterations}",
            "Limits:FailuresPerSource=10000");
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

    [TearDown]
    public void OpenHashingGate() => hashing.Open();

    [SetUp]
    public async Task CreateClient() => client = await database.CreateClientAsync($"client-{++number}");

    [Test]
    public async Task A_secret_is_hashed_only_the_first_time()
    {
        await IsGrantedAsync(client, hashes: 1);
        await IsGrantedAsync(client, hashes: 0);
        await HashesAsync(0, async () => (await TokenRequestBuilder.ByPost(client).SendAsync(server)).IsGrant("invoices:read"));
    }

    [Test]
    public async Task A_verified_imported_secret_is_hashed_again_after_SecretMemory_however_often_it_was_used()
    {
        await database.AddSecretAsync(client.Id, Imported);
        var imported = client with { Secret = Imported };
        await IsGrantedAsync(imported, hashes: 1);
        server.Clock.Advance(SecretMemory / 2);
        await IsGrantedAsync(imported, hashes: 0);
        server.Clock.Advance((SecretMemory / 2) - Instant);
        await IsGrantedAsync(imported, hashes: 0);

        server.Clock.Advance(Instant);
        await IsGrantedAsync(imported, hashes: 1);
        await IsGrantedAsync(imported, hashes: 0);
    }

    [Test]
    public async Task A_verified_generated_secret_is_recognised_for_as_long_as_its_row_is_unchanged()
    {
        await IsGrantedAsync(client, hashes: 1);
        server.Clock.Advance(2 * SecretMemory);
        await IsGrantedAsync(client, hashes: 0);
    }

    [Test]
    public async Task A_server_with_a_SecretMemory_of_zero_hashes_every_request()
    {
        using var gate = new HashingGate();
        await using var withoutMemory = await TestServer.StartAsync(
            database.ConnectionString, new FakeClock(), services => services.AddSingleton(_ => gate.NewThreads()),
            "Hashing:SecretMemory=00:00:00");
        for (var i = 1; i <= 3; i++)
        {
            (await TokenRequestBuilder.For(client).SendAsync(withoutMemory)).IsGrant("invoices:read");
            Assert.That(gate.Count, Is.EqualTo(i));
        }
    }

    [Test]
    public async Task A_wrong_secret_is_hashed_and_refused_each_time_and_the_right_one_stays_verified()
    {
        var wrong = await WithWrongSecretAsync(client);
        await IsGrantedAsync(client, hashes: 1);
        for (var i = 0; i < 3; i++)
            await IsRefusedAsync(wrong, hashes: 1);
        await IsGrantedAsync(client, hashes: 0);
    }

    [Test]
    public async Task A_verified_secret_is_refused_for_another_client()
    {
        var other = await database.CreateClientAsync($"other-{number}");
        await IsGrantedAsync(client, hashes: 1);
        await IsRefusedAsync(client with { Id = other.Id }, hashes: 0);
    }

    [Test]
    public async Task An_imported_secret_is_verified_for_each_client_separately()
    {
        var other = await database.CreateClientAsync($"other-{number}");
        await database.AddSecretAsync(client.Id, Imported);
        await IsGrantedAsync(client with { Secret = Imported }, hashes: 1);

        await IsRefusedAsync(new TestClient(other.Id, Imported), hashes: 1);
        await database.AddSecretAsync(other.Id, Imported);
        await server.HasReceivedNotificationsAsync();
        await IsGrantedAsync(new TestClient(other.Id, Imported), hashes: 1);
    }

    [Test]
    public async Task Each_of_several_imported_secrets_is_recognised()
    {
        await database.AddSecretAsync(client.Id, Older);
        await database.AddSecretAsync(client.Id, Imported);
        await database.ExecuteAsync(
            "update token_service.client_secret set created_at = created_at + interval '1 minute' where id = @Id",
            new { Id = await NewestImportedAsync() });

        await IsGrantedAsync(client with { Secret = Older }, hashes: 2);
        await IsGrantedAsync(client with { Secret = Imported }, hashes: 1);
        await IsGrantedAsync(client with { Secret = Older }, hashes: 0);
        await IsGrantedAsync(client with { Secret = Imported }, hashes: 0);
        await IsRefusedAsync(client with { Secret = "neither of them" }, hashes: 2);
    }

    [Test]
    public async Task A_verified_secret_is_hashed_again_when_the_digest_in_its_row_changes()
    {
        await IsGrantedAsync(client, hashes: 1);
        await DoAsync("update token_service.client_secret set digest = @digest where client_id = @id", Database.Digest("another"));
        await IsRefusedAsync(client, hashes: 1);

        await DoAsync("update token_service.client_secret set digest = @digest where client_id = @id", Database.Digest(client.Secret));
        await IsGrantedAsync(client, hashes: 1);
    }

    // The server checks at every request whether the row is alive.
    [TestCase("revoked_at = now()")]
    [TestCase("expires_at = now()")]
    [TestCase("not_before = now() + interval '1 hour'")]
    [TestCase("created_at = now() - interval '3 days'", Description = "The row is too old for the policy below.")]
    public async Task A_verified_secret_is_refused_when_its_row_is_not_alive(string columns)
    {
        await DoAsync("update token_service.policy set max_secret_age = '2 days'");
        await IsGrantedAsync(client, hashes: 1);
        await DoAsync($"update token_service.client_secret set {columns} where client_id = @id");
        await IsRefusedAsync(client, hashes: 0);
        await DoAsync("update token_service.policy set max_secret_age = null");
    }

    // The expiry was known beforehand, so no notification is needed.
    [Test]
    public async Task A_verified_secret_is_refused_from_the_instant_when_its_row_expires()
    {
        await DoAsync(
            "update token_service.client_secret set expires_at = @at where client_id = @id",
            at: server.Clock.GetUtcNow() + TimeSpan.FromSeconds(2));
        await IsGrantedAsync(client, hashes: 1);
        server.Clock.Advance(TimeSpan.FromSeconds(2) - Instant);
        await IsGrantedAsync(client, hashes: 0);
        server.Clock.Advance(Instant);
        await IsRefusedAsync(client, hashes: 0);
    }

    [TestCase("update token_service.client set enabled = false where id = @id")]
    [TestCase("update token_service.client set authentication_methods = '{client_secret_post}' where id = @id")]
    [TestCase("delete from token_service.client_secret where client_id = @id")]
    [TestCase("""
        delete from token_service.client_scope where client_id = @id;
        delete from token_service.client_secret where client_id = @id;
        delete from token_service.client where id = @id;
        """)]
    public async Task A_verified_secret_is_refused_when_its_client_may_not_use_it(string sql)
    {
        await IsGrantedAsync(client, hashes: 1);
        await DoAsync(sql);
        await IsRefusedAsync(client, hashes: 0);
    }

    [Test]
    public async Task A_verified_secret_is_still_recognised_after_its_client_was_disabled_and_enabled_again()
    {
        await IsGrantedAsync(client, hashes: 1);
        await DoAsync("update token_service.client set enabled = false where id = @id");
        await IsRefusedAsync(client, hashes: 0);
        await DoAsync("update token_service.client set enabled = true where id = @id");
        await IsGrantedAsync(client, hashes: 0);
    }

    [TestCase(true)]
    [TestCase(false)]
    public async Task Concurrent_requests_with_the_same_secret_cause_one_hash(bool isRight)
    {
        var presented = isRight ? client : await WithWrongSecretAsync(client);
        await Clients.FindAsync(client.Id, CancellationToken.None);
        var before = hashing.Count;
        hashing.Close();
        var answers = Enumerable.Range(0, 20).Select(_ => AuthenticateAsync(presented)).ToList();
        await hashing.HoldsAsync(before + 1);
        hashing.Open();

        foreach (var result in await Task.WhenAll(answers))
            Assert.That(result.TryGet(out _, out _), Is.EqualTo(isRight));
        Assert.That(hashing.Count, Is.EqualTo(before + 1));
    }

    // A request that gives up must not cause the refusal of another.
    [Test]
    public async Task A_hash_continues_when_the_request_that_began_it_is_cancelled()
    {
        await Clients.FindAsync(client.Id, CancellationToken.None);
        var before = hashing.Count;
        hashing.Close();
        using var gone = new CancellationTokenSource();
        var first = AuthenticateAsync(client, gone.Token);
        var second = AuthenticateAsync(client);
        await gone.CancelAsync();
        await Assert.ThatAsync(() => first, Throws.InstanceOf<OperationCanceledException>());
        hashing.Open();

        Assert.That((await second).TryGet(out _, out _), Is.True);
        await IsGrantedAsync(client, hashes: 0);
        Assert.That(hashing.Count, Is.EqualTo(before + 1));
    }

    // A request after the revocation joins the verification that began before it, and is refused too.
    [Test]
    public async Task An_imported_secret_that_is_revoked_while_it_is_hashed_is_refused()
    {
        await database.AddSecretAsync(client.Id, Older);
        await database.AddSecretAsync(client.Id, Imported);
        await server.HasReceivedNotificationsAsync();
        var found = await Clients.FindAsync(client.Id, CancellationToken.None);
        var last = found!.Secrets.Last(secret => secret.IsImported);
        // Secrets created at the same time are ordered by their random ids, so either of the two may be the last.
        var isOlder = Run.Hasher.Matches(Older, last.Digest) is true;
        var presented = client with { Secret = isOlder ? Older : Imported };

        var before = hashing.Count;
        hashing.Close();
        var first = AuthenticateAsync(presented);
        await hashing.HoldsAsync(before + 1);
        await database.ExecuteAsync("update token_service.client_secret set revoked_at = now() where id = @Id", new { last.Id });
        await server.HasReceivedNotificationsAsync();
        await Clients.FindAsync(client.Id, CancellationToken.None);
        var later = AuthenticateAsync(presented);
        hashing.Open();
        Assert.That((await first).TryGet(out _, out var error), Is.False);
        Assert.That(error!.Reason, Is.EqualTo(Reason.SecretRevoked));
        Assert.That((await later).TryGet(out _, out _), Is.False);
    }

    [Test]
    public async Task A_secret_that_the_full_queue_refused_is_hashed_at_the_next_request()
    {
        var (threads, before) = (server.Services.GetRequiredService<HashingQueue>(), hashing.Count);
        hashing.Close();
        // One secret holds up the hashing thread, and four more fill the queue.
        var waiting = new List<Task> { threads.MatchesAsync(Imported, Cheap, HashingPriority.KnownSecret) };
        await hashing.HoldsAsync(before + 1);
        waiting.AddRange(Enumerable.Range(0, 4).Select(_ => threads.MatchesAsync(Imported, Cheap, HashingPriority.KnownSecret)));

        (await TokenRequestBuilder.For(client).SendAsync(server)).IsError(
            503, "temporarily_unavailable",
                "The server cannot answer now. Retry-After says when to ask again.", ("Retry-After", "1"));
        hashing.Open();
        await Task.WhenAll(waiting);
        await IsGrantedAsync(client, hashes: 1);
    }

    private async Task<Result<AuthenticatedClient>> AuthenticateAsync(TestClient presented, CancellationToken ct = default) =>
        (await server.Services.GetRequiredService<ClientAuthenticator>().AuthenticateAsync(
            new ClientCredentials.Basic(presented.Id, PresentedSecret.Parse(presented.Secret)), source: null, ct)).Result;

    private Task IsGrantedAsync(TestClient presented, int hashes) =>
        HashesAsync(hashes, async () => (await TokenRequestBuilder.For(presented).SendAsync(server)).IsGrant("invoices:read"));

    private Task IsRefusedAsync(TestClient presented, int hashes) =>
        HashesAsync(hashes, async () => (await TokenRequestBuilder.For(presented).SendAsync(server)).IsInvalidClient());

    private async Task HashesAsync(int hashes, Func<Task> act)
    {
        var before = hashing.Count;
        await act();
        Assert.That(hashing.Count - before, Is.EqualTo(hashes), "hashes");
    }

    /// <summary>A wrong secret with the selector of a live row of the client.</summary>
    private async Task<TestClient> WithWrongSecretAsync(TestClient client)
    {
        var secret = GeneratedSecret.Create();
        await database.ExecuteAsync(
            "select token_service.add_secret(@Id, @Selector, @digest)",
            new { client.Id, secret.Selector, digest = Database.Digest("another") });
        await server.HasReceivedNotificationsAsync();
        return client with { Secret = secret.Value };
    }

    private Task<string?> NewestImportedAsync() => database.ReadAsync<string>(
        """
        select id from token_service.client_secret
        where client_id = @Id and id like 'imported%'
        order by created_at desc limit 1
        """,
        client);

    private async Task DoAsync(string sql, string digest = "", DateTimeOffset at = default)
    {
        await database.ExecuteAsync(sql, new { id = client.Id, digest, at });
        await server.HasReceivedNotificationsAsync();
    }
}
