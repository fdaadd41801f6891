using Dapper;
using Microsoft.Extensions.DependencyInjection;
using Npgsql;
using TokenService.Clients;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Caching;

/// <summary>
/// However many ids are asked for, memory is bounded, and the database is left to others. A lock on a table shows who asks the database,
/// and holds them up; the clock stands still, so that nobody gives up.
/// </summary>
[TestFixture]
public sealed class FloodsOfIds
{
    // Fewer than there may be outside tests.
    private const int MaxClients = 16;
    private const int MaxUnknown = 64;

    private const int MaxReads = 32;
    private const int MaxWaiting = 1024;

    private Database database = null!;
    private TestServer server = null!;
    private TestClient client = null!;

    private ClientCache Clients => server.Services.GetRequiredService<ClientCache>();

    [SetUp]
    public async Task StartServer()
    {
        database = await Database.CreateAsync();
        client = await database.CreateClientAsync("billing");
        // Whoever is held up waits for the test, however slow it is.
        server = await TestServer.StartAsync(
            $"{database.ConnectionString};Command Timeout=60", new FakeClock(), services => services.PostConfigure<ClientCacheOptions>(
                options => (options.MaxClients, options.MaxUnknown) = (MaxClients, MaxUnknown)));
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
    public async Task So_many_are_remembered_of_any_number_and_no_client_is_forgotten_for_them()
    {
        var ids = Enumerable.Range(0, 3 * MaxUnknown).Select(i => $"unknown-{i}").ToList();
        foreach (var id in ids)
            Assert.That(await FindAsync(id), Is.Null);
        (await SendAsync(client with { Id = "one-more" })).IsInvalidClient();
        (await SendAsync(client with { Id = "one-more" })).IsInvalidClient();

        await using var hold = await LockAsync();
        (await SendAsync(client)).IsGrant("invoices:read");
        await AreRememberedAsync(ids, MaxUnknown, hold);
    }

    [Test]
    public async Task So_many_clients_are_remembered_and_more_are_served()
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
        await AreRememberedAsync(clients.Select(one => one.Id), MaxClients, hold);
    }

    [Test]
    public async Task Only_so_many_wait_and_one_more_is_refused_at_once()
    {
        await using var hold = await LockAsync();
        var finding = Enumerable.Range(0, MaxReads + MaxWaiting).Select(i => FindAsync($"unknown-{i}")).ToList();
        await Soon.IsAsync($"{MaxReads} ask", async () => await AskingAsync() == MaxReads);

        var refused = SendAsync(client with { Id = "one-more" });
        await Soon.IsAsync("one more is refused", () => refused.IsCompleted);
        (await refused).IsError(
            503, "temporarily_unavailable", "The server cannot answer now. Ask again later.", ("Retry-After", "5"));
        Assert.That(finding.Count(one => one.IsCompleted), Is.Zero);
        Assert.That(await AskingAsync(), Is.EqualTo(MaxReads));
        // Neither memory nor the other connections are theirs.
        (await SendAsync(client)).IsGrant("invoices:read");
        Assert.That((await server.GetAsync("/healthz/ready")).Status, Is.EqualTo(200));

        await hold.ReleaseAsync();
        Assert.That(await Task.WhenAll(finding), Is.All.Null);
        (await SendAsync(client with { Id = "one-more" })).IsInvalidClient();
    }

    // Of the others the database is asked.
    private async Task AreRememberedAsync(IEnumerable<string> ids, int most, Hold hold)
    {
        var finding = ids.Select(FindAsync).ToList();
        Assert.That(finding.Count(one => one.IsCompletedSuccessfully), Is.InRange(most * 3 / 4, most));
        await hold.ReleaseAsync();
        await Task.WhenAll(finding);
    }

    private Task<Client?> FindAsync(string id) => Clients.FindAsync(id, CancellationToken.None).AsTask();

    private Task<Answer> SendAsync(TestClient client) => TokenRequestBuilder.For(client).SendAsync(server);

    private Task<int> AskingAsync() => database.WaitersForAsync("client");

    private async Task<Hold> LockAsync()
    {
        var connection = await database.Source.OpenConnectionAsync();
        await connection.ExecuteAsync("begin; lock table token_service.client in access exclusive mode");
        return new Hold(connection);
    }

    /// <summary>Keeps everybody from reading clients.</summary>
    private sealed class Hold(NpgsqlConnection connection) : IAsyncDisposable
    {
        public async Task ReleaseAsync() => await connection.ExecuteAsync("commit");

        public ValueTask DisposeAsync() => connection.DisposeAsync();
    }
}
