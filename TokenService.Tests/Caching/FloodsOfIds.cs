using Dapper;
using Microsoft.Extensions.DependencyInjection;
using Npgsql;
using TokenService.Clients;
using TokenService.Limits;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Caching;

/// <summary>
/// Requests with any number of unknown ids use bounded memory, and leave the database to other requests. A lock on a
/// table shows which requests ask the database, and blocks them; the clock stands still, so that no request gives up.
/// </summary>
[TestFixture]
public sealed class FloodsOfIds
{
    // Smaller than in production, so that a test soon reaches them.
    private const int MaxClients = 16;
    private const int MaxUnknown = 64;

    private const int MaxQueries = 2;
    private const int MaxWaiting = 4096;

    private Database database = null!;
    private TestServer server = null!;
    private TestClient client = null!;

    private ClientCache Clients => server.Services.GetRequiredService<ClientCache>();

    [SetUp]
    public async Task StartServer()
    {
        database = await Database.CreateAsync();
        client = await database.CreateClientAsync("billing");
        // A blocked query waits for the test, however slow the test is.
        server = await TestServer.StartAsync(
            $"{database.ConnectionString};Command Timeout=60", new FakeClock(), services => services.PostConfigure<ClientCacheOptions>(
                options => (options.MaxClients, options.MaxUnknown) = (MaxClients, MaxUnknown)),
            "Logging:LogLevel:Npgsql.Command=Information");
        await server.IsListeningAsync();
        (await SendAsync(client)).IsGrant("invoices:read");
    }

    [TearDown]
    public async Task StopServer()
    {
        await (server?.DisposeAsync() ?? ValueTask.CompletedTask);
        await (database?.DisposeAsync() ?? ValueTask.CompletedTask);
    }

    [Test]
    public async Task The_cache_of_unknown_ids_is_bounded_and_evicts_no_client()
    {
        var ids = Enumerable.Range(0, 3 * MaxUnknown).Select(i => $"unknown-{i}").ToList();
        foreach (var id in ids)
            Assert.That(await FindAsync(id), Is.Null);
        (await SendAsync(client with { Id = "one-more" })).IsInvalidClient();
        (await SendAsync(client with { Id = "one-more" })).IsInvalidClient();

        await using var hold = await LockAsync();
        (await SendAsync(client)).IsGrant("invoices:read");
        await AreCachedAsync(ids, MaxUnknown, hold);
    }

    [Test]
    public async Task The_cache_of_clients_is_bounded_and_further_clients_are_served()
    {
        var clients = new List<TestClient>();
        for (var i = 0; i < 2 * MaxClients; i++)
            clients.Add(await database.CreateClientAsync($"client-{i}"));
        await server.HasReceivedNotificationsAsync();
        foreach (var one in clients)
            (await SendAsync(one)).IsGrant("invoices:read");
        foreach (var one in clients)
            (await SendAsync(one)).IsGrant("invoices:read");

        await using var hold = await LockAsync();
        await AreCachedAsync(clients.Select(one => one.Id), MaxClients, hold);
    }

    [Test]
    public async Task The_queue_of_reads_is_bounded_and_one_more_request_is_refused_at_once()
    {
        await using var hold = await LockAsync();
        var finding = Enumerable.Range(0, MaxQueries + MaxWaiting).Select(i => FindAsync($"unknown-{i}")).ToList();
        await Soon.IsAsync($"{MaxQueries} queries ask the database", async () => await AskingAsync() == MaxQueries);

        var refused = SendAsync(client with { Id = "one-more" });
        await Soon.IsAsync("one more is refused", () => refused.IsCompleted);
        (await refused).IsError(
            503, "temporarily_unavailable",
                "The server cannot answer now. Retry-After says when to ask again.", ("Retry-After", "5"));
        Assert.That(finding.Count(one => one.IsCompleted), Is.Zero);
        Assert.That(await AskingAsync(), Is.EqualTo(MaxQueries));
        // The waiting reads block neither the cache nor the other connections.
        (await SendAsync(client)).IsGrant("invoices:read");
        Assert.That((await server.GetAsync("/healthz/ready")).Status, Is.EqualTo(200));

        await hold.ReleaseAsync();
        Assert.That(await Task.WhenAll(finding), Is.All.Null);
        (await SendAsync(client with { Id = "one-more" })).IsInvalidClient();
    }

    // The first ids have queries of their own, and all that come meanwhile share the next ones, 100 in each.
    [Test]
    public async Task Reads_that_wait_share_a_query()
    {
        var clients = new List<TestClient>();
        for (var i = 0; i < 5; i++)
            clients.Add(await database.CreateClientAsync($"client-{i}"));
        await server.HasReceivedNotificationsAsync();
        var hold = await LockAsync();
        var ids = Enumerable.Range(0, 198).Select(i => $"unknown-{i}").Concat(clients.Select(one => one.Id));
        var finding = ids.Select(FindAsync).ToList();
        await Soon.IsAsync($"{MaxQueries} queries ask the database", async () => await AskingAsync() == MaxQueries);
        var before = Queries();

        await hold.ReleaseAsync();
        var found = await Task.WhenAll(finding);
        Assert.That(found[198..].Select(one => one!.Id), Is.EqualTo(clients.Select(one => one.Id)));
        Assert.That(found[..198], Is.All.Null);
        Assert.That(Queries() - before, Is.EqualTo(MaxQueries + 3), "201 ids in batches of 100, 100 and 1");
    }

    // A constraint refuses such a row; here it is missing.
    [Test]
    public async Task A_client_that_cannot_be_read_does_not_keep_the_others_from_being_read()
    {
        var (bad, good) = (await database.CreateClientAsync("bad"), await database.CreateClientAsync("good"));
        await database.ExecuteAsync(
            """
            alter table token_service.client_secret drop constraint client_secret_digest_is_argon2id;
            update token_service.client_secret set digest = 'no digest' where client_id = 'bad'
            """);
        await server.HasReceivedNotificationsAsync();
        var hold = await LockAsync();
        var asking = Enumerable.Range(0, MaxQueries).Select(i => FindAsync($"unknown-{i}")).ToList();
        await Soon.IsAsync($"{MaxQueries} queries ask the database", async () => await AskingAsync() == MaxQueries);
        var (first, second) = (SendAsync(bad), SendAsync(good));
        await Soon.IsAsync("both requests wait", () => server.Services.GetRequiredService<ConcurrencyLimit>().Count == 2);

        await hold.ReleaseAsync();
        await Task.WhenAll(asking);
        Assert.That((await first).Status, Is.EqualTo(500));
        (await second).IsGrant("invoices:read");
    }

    // The constraint that refuses such a row is missing here, too.
    [Test]
    public async Task A_secret_that_cannot_be_read_does_not_keep_the_clients_other_secrets_from_being_read()
    {
        var other = await database.CreateClientAsync("other");
        await database.AddSecretAsync("other", "a secret of another system");
        await database.ExecuteAsync(
            """
            alter table token_service.client_secret drop constraint client_secret_dates_representable;
            update token_service.client_secret set not_before = '20000-01-01Z' where id like 'imported%'
            """);
        await server.HasReceivedNotificationsAsync();

        (await SendAsync(other)).IsGrant("invoices:read");
        (await SendAsync(other with { Secret = "a secret of another system" })).IsInvalidClient();
        Assert.That(server.Log.Lines, Has.None.Contain("$argon2id$"));
    }

    // The ids that are not in the cache wait for the lock.
    private async Task AreCachedAsync(IEnumerable<string> ids, int max, Hold hold)
    {
        var finding = ids.Select(FindAsync).ToList();
        Assert.That(finding.Count(one => one.IsCompletedSuccessfully), Is.InRange(max * 3 / 4, max));
        await hold.ReleaseAsync();
        await Task.WhenAll(finding);
    }

    private Task<Client?> FindAsync(string id) => Clients.FindAsync(id, CancellationToken.None).AsTask();

    private Task<Answer> SendAsync(TestClient client) => TokenRequestBuilder.For(client).SendAsync(server);

    private int Queries() => server.Log.Lines.Count(line =>
        line.Contains("execution completed", StringComparison.Ordinal)
        && line.Contains("authentication_methods", StringComparison.Ordinal));

    private Task<int> AskingAsync() => database.WaitersForAsync("client");

    private async Task<Hold> LockAsync()
    {
        var connection = await database.Source.OpenConnectionAsync();
        await connection.ExecuteAsync("begin; lock table token_service.client in access exclusive mode");
        return new Hold(connection);
    }

    /// <summary>Blocks every read of the clients.</summary>
    private sealed class Hold(NpgsqlConnection connection) : IAsyncDisposable
    {
        public async Task ReleaseAsync() => await connection.ExecuteAsync("commit");

        public ValueTask DisposeAsync() => connection.DisposeAsync();
    }
}
