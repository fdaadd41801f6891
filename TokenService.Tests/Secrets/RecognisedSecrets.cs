using Microsoft.Extensions.DependencyInjection;
using TokenService.Authentication;
using TokenService.Clients;
using TokenService.Protocol;
using TokenService.Secrets;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Secrets;

/// <summary>A secret that has proved right is recognised without hashing it again. What that memory may never do, and when it ends.</summary>
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
        await server.HearsAsync();
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
    public void LetItHash() => hashing.Open();

    [SetUp]
    public async Task CreateClient() => client = await database.CreateClientAsync($"client-{++number}");

    [Test]
    public async Task It_is_hashed_the_first_time_only()
    {
        await IsGrantedAsync(client, hashes: 1);
        await IsGrantedAsync(client, hashes: 0);
        await HashesAsync(0, async () => (await TokenRequestBuilder.ByPost(client).SendAsync(server)).IsGrant("invoices:read"));
    }

    [Test]
    public async Task It_is_hashed_again_when_the_memory_ends_however_often_it_came()
    {
        await IsGrantedAsync(client, hashes: 1);
        server.Clock.Advance(SecretMemory / 2);
        await IsGrantedAsync(client, hashes: 0);
        server.Clock.Advance((SecretMemory / 2) - Instant);
        await IsGrantedAsync(client, hashes: 0);

        server.Clock.Advance(Instant);
        await IsGrantedAsync(client, hashes: 1);
        await IsGrantedAsync(client, hashes: 0);
    }

    [Test]
    public async Task With_no_memory_every_request_is_hashed()
    {
        using var gate = new HashingGate();
        await using var forgetful = await TestServer.StartAsync(
            database.ConnectionString, new FakeClock(), services => services.AddSingleton(_ => gate.NewThreads()), "Hashing:SecretMemory=00:00:00");
        for (var i = 1; i <= 3; i++)
        {
            (await TokenRequestBuilder.For(client).SendAsync(forgetful)).IsGrant("invoices:read");
            Assert.That(gate.Count, Is.EqualTo(i));
        }
    }

    [Test]
    public async Task A_wrong_secret_is_hashed_and_refused_each_time_and_takes_nothing_from_the_right_one()
    {
        var wrong = await WithWrongSecretAsync(client);
        await IsGrantedAsync(client, hashes: 1);
        for (var i = 0; i < 3; i++)
            await IsRefusedAsync(wrong, hashes: 1);
        await IsGrantedAsync(client, hashes: 0);
    }

    [Test]
    public async Task Under_another_client_it_is_nothing()
    {
        var other = await database.CreateClientAsync($"other-{number}");
        await IsGrantedAsync(client, hashes: 1);
        await IsRefusedAsync(client with { Id = other.Id }, hashes: 0);
    }

    [Test]
    public async Task An_imported_one_is_the_secret_of_one_client_though_another_may_have_the_same()
    {
        var other = await database.CreateClientAsync($"other-{number}");
        await database.AddSecretAsync(client.Id, Imported);
        await IsGrantedAsync(client with { Secret = Imported }, hashes: 1);

        await IsRefusedAsync(new TestClient(other.Id, Imported), hashes: 1);
        await database.AddSecretAsync(other.Id, Imported);
        await server.HasHeardAsync();
        await IsGrantedAsync(new TestClient(other.Id, Imported), hashes: 1);
    }

    [Test]
    public async Task Of_several_imported_ones_each_is_recognised()
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
    public async Task When_its_row_gets_another_digest_it_is_refused_and_the_new_one_is_hashed()
    {
        await IsGrantedAsync(client, hashes: 1);
        await DoAsync("update token_service.client_secret set digest = @digest where client_id = @id", Database.Digest("another"));
        await IsRefusedAsync(client, hashes: 1);

        await DoAsync("update token_service.client_secret set digest = @digest where client_id = @id", Database.Digest(client.Secret));
        await IsGrantedAsync(client, hashes: 1);
    }

    // What is alive is asked at every request.
    [TestCase("revoked_at = now()")]
    [TestCase("expires_at = now()")]
    [TestCase("not_before = now() + interval '1 hour'")]
    [TestCase("created_at = now() - interval '3 days'", Description = "Too old for the policy below.")]
    public async Task When_its_row_is_not_alive_it_is_refused(string columns)
    {
        await DoAsync("update token_service.policy set max_secret_age = '2 days'");
        await IsGrantedAsync(client, hashes: 1);
        await DoAsync($"update token_service.client_secret set {columns} where client_id = @id");
        await IsRefusedAsync(client, hashes: 0);
        await DoAsync("update token_service.policy set max_secret_age = null");
    }

    // As it was announced: nothing has to be heard for it.
    [Test]
    public async Task When_its_row_expires_it_is_refused()
    {
        await DoAsync("update token_service.client_secret set expires_at = @at where client_id = @id", at: server.Clock.GetUtcNow() + TimeSpan.FromSeconds(2));
        await IsGrantedAsync(client, hashes: 1);
        server.Clock.Advance(TimeSpan.FromSeconds(2) - Instant);
        await IsGrantedAsync(client, hashes: 0);
        server.Clock.Advance(Instant);
        await IsRefusedAsync(client, hashes: 0);
    }

    [TestCase("update token_service.client set enabled = false where id = @id")]
    [TestCase("update token_service.client set authentication_methods = '{client_secret_post}' where id = @id")]
    [TestCase("delete from token_service.client_secret where client_id = @id")]
    [TestCase("delete from token_service.client_scope where client_id = @id; delete from token_service.client_secret where client_id = @id; delete from token_service.client where id = @id")]
    public async Task When_its_client_may_not_it_is_refused(string sql)
    {
        await IsGrantedAsync(client, hashes: 1);
        await DoAsync(sql);
        await IsRefusedAsync(client, hashes: 0);
    }

    [Test]
    public async Task Back_on_a_client_that_was_disabled_it_is_still_recognised()
    {
        await IsGrantedAsync(client, hashes: 1);
        await DoAsync("update token_service.client set enabled = false where id = @id");
        await IsRefusedAsync(client, hashes: 0);
        await DoAsync("update token_service.client set enabled = true where id = @id");
        await IsGrantedAsync(client, hashes: 0);
    }

    [TestCase(true)]
    [TestCase(false)]
    public async Task Many_who_present_one_secret_at_once_cause_one_hash(bool isRight)
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

    // Nobody is refused because of somebody else's patience.
    [Test]
    public async Task The_hash_outlives_the_caller_who_began_it()
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

    // Also to a request that comes after the withdrawal and joins a proof begun before it.
    [Test]
    public async Task An_imported_secret_that_is_revoked_while_it_is_hashed_is_refused()
    {
        await database.AddSecretAsync(client.Id, Older);
        await database.AddSecretAsync(client.Id, Imported);
        await server.HasHeardAsync();
        var found = await Clients.FindAsync(client.Id, CancellationToken.None);
        var last = found!.Secrets.Last(secret => secret.IsImported);
        // Which of the two it is, is decided by their ids.
        var isOlder = SecretHasher.Matches(Older, last.Digest) is true;
        var presented = client with { Secret = isOlder ? Older : Imported };

        var before = hashing.Count;
        hashing.Close();
        var first = AuthenticateAsync(presented);
        await hashing.HoldsAsync(before + 1);
        await database.ExecuteAsync("update token_service.client_secret set revoked_at = now() where id = @Id", new { last.Id });
        await server.HasHeardAsync();
        await Clients.FindAsync(client.Id, CancellationToken.None);
        var later = AuthenticateAsync(presented);
        hashing.Open();
        Assert.That((await first).TryGet(out _, out _), Is.False);
        Assert.That((await later).TryGet(out _, out _), Is.False);
    }

    [Test]
    public async Task That_it_could_not_be_hashed_is_not_remembered()
    {
        var (threads, before) = (server.Services.GetRequiredService<HashingQueue>(), hashing.Count);
        hashing.Close();
        // One is held up, four fill the queue.
        var waiting = new List<Task> { threads.MatchesAsync(Imported, Cheap, namesRow: true) };
        await hashing.HoldsAsync(before + 1);
        waiting.AddRange(Enumerable.Range(0, 4).Select(_ => threads.MatchesAsync(Imported, Cheap, namesRow: true)));

        (await TokenRequestBuilder.For(client).SendAsync(server)).IsError(
            503, "temporarily_unavailable", "The server cannot answer now. Ask again later.", ("Retry-After", "1"));
        hashing.Open();
        await Task.WhenAll(waiting);
        await IsGrantedAsync(client, hashes: 1);
    }

    private async Task<Result<AuthenticatedClient>> AuthenticateAsync(TestClient presented, CancellationToken ct = default) =>
        await server.Services.GetRequiredService<ClientAuthenticator>().AuthenticateAsync(
            new ClientCredentials.Basic(presented.Id, PresentedSecret.Parse(presented.Secret)), source: null, ct);

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

    /// <summary>One that names a live row of the client, and is not its secret.</summary>
    private async Task<TestClient> WithWrongSecretAsync(TestClient client)
    {
        var secret = GeneratedSecret.Create();
        await database.ExecuteAsync(
            "select token_service.add_secret(@Id, @Selector, @digest)", new { client.Id, secret.Selector, digest = Database.Digest("another") });
        await server.HasHeardAsync();
        return client with { Secret = secret.Value };
    }

    private Task<string?> NewestImportedAsync() => database.ReadAsync<string>(
        "select id from token_service.client_secret where client_id = @Id and id like 'imported%' order by created_at desc limit 1", client);

    private async Task DoAsync(string sql, string digest = "", DateTimeOffset at = default)
    {
        await database.ExecuteAsync(sql, new { id = client.Id, digest, at });
        await server.HasHeardAsync();
    }
}
