using Dapper;
using Microsoft.Extensions.DependencyInjection;
using Npgsql;
using TokenService.Clients;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Caching;

/// <summary>
/// The server reads a client once and then knows it. A lock on a table shows which requests ask the database, and
/// blocks them.
/// </summary>
[TestFixture]
public sealed class KnownClients
{
    private Database database = null!;
    private TestServer server = null!;
    private int number;

    private ClientCache Clients => server.Services.GetRequiredService<ClientCache>();

    [OneTimeSetUp]
    public async Task StartServer()
    {
        database = await Database.CreateAsync();
        // A blocked query waits for the test, however slow the test is.
        server = await TestServer.StartAsync($"{database.ConnectionString};Command Timeout=60", new FakeClock());
        await server.IsListeningAsync();
    }

    [OneTimeTearDown]
    public async Task StopServer()
    {
        await (server?.DisposeAsync() ?? ValueTask.CompletedTask);
        await (database?.DisposeAsync() ?? ValueTask.CompletedTask);
    }

    [Test]
    public async Task A_known_client_is_served_without_the_database()
    {
        var (known, unknown) = (await CreateAsync(), await CreateAsync());
        (await TokenRequestBuilder.For(known).SendAsync(server)).IsGrant("invoices:read");

        await using var hold = await LockAsync("client");
        var waiting = TokenRequestBuilder.For(unknown).SendAsync(server);
        await IsAwaitedAsync("client");
        (await TokenRequestBuilder.For(known).SendAsync(server)).IsGrant("invoices:read");
        (await TokenRequestBuilder.ByPost(known).WithScope("invoices:write").SendAsync(server)).IsGrant("invoices:write");

        await hold.ReleaseAsync();
        (await waiting).IsGrant("invoices:read");
    }

    [Test]
    public async Task A_change_of_one_client_leaves_the_others_known()
    {
        var (known, changed) = (await CreateAsync(), await CreateAsync());
        await TokenRequestBuilder.For(known).SendAsync(server);
        await TokenRequestBuilder.For(changed).SendAsync(server);
        await database.ExecuteAsync("select token_service.set_client_enabled(@Id, false)", changed);
        await server.HasReceivedNotificationsAsync();

        await using var hold = await LockAsync("client");
        (await TokenRequestBuilder.For(known).SendAsync(server)).IsGrant("invoices:read");
        var waiting = TokenRequestBuilder.For(changed).SendAsync(server);
        await IsAwaitedAsync("client");
        await hold.ReleaseAsync();
        (await waiting).IsInvalidClient();
    }

    // Otherwise the server would read every client in use again each half minute.
    [Test]
    public async Task Writing_the_usage_leaves_every_client_known()
    {
        var known = await CreateAsync();
        await TokenRequestBuilder.For(known).SendAsync(server);
        await database.ExecuteAsync(
            """
            insert into token_service.credential_use (kind, credential_id, client_id, first_used_at, last_used_at, use_count)
            select 'secret', id, client_id, now(), now(), 1 from token_service.client_secret where client_id = @Id;
            update token_service.credential_use set use_count = 2;
            """,
            known);
        await server.HasReceivedNotificationsAsync();

        await using var hold = await LockAsync("client");
        (await TokenRequestBuilder.For(known).SendAsync(server)).IsGrant("invoices:read");
    }

    [Test]
    public async Task Concurrent_requests_for_one_client_read_it_once()
    {
        var id = (await CreateAsync()).Id;
        await using var hold = await LockAsync("client");
        var finding = Enumerable.Range(0, 20).Select(_ => Clients.FindAsync(id, CancellationToken.None).AsTask()).ToList();
        await IsAwaitedAsync("client");
        await hold.ReleaseAsync();

        var found = await Task.WhenAll(finding);
        Assert.That(found[0]?.Id, Is.EqualTo(id));
        Assert.That(found, Is.All.SameAs(found[0]));
    }

    [Test]
    public async Task A_cancelled_request_leaves_the_others_waiting()
    {
        var id = (await CreateAsync()).Id;
        await using var hold = await LockAsync("client");
        using var gone = new CancellationTokenSource();
        var first = Clients.FindAsync(id, gone.Token).AsTask();
        var second = Clients.FindAsync(id, CancellationToken.None).AsTask();
        await IsAwaitedAsync("client");

        await gone.CancelAsync();
        await Assert.ThatAsync(() => first, Throws.InstanceOf<OperationCanceledException>());
        await hold.ReleaseAsync();
        Assert.That((await second)?.Id, Is.EqualTo(id));
    }

    [TestCase("update token_service.client set enabled = false where id = @id")]
    [TestCase("update token_service.policy set max_secret_age = '100 days'", Description = "Which concerns them all.")]
    public async Task A_client_read_before_a_change_is_not_cached_after_it(string change)
    {
        var id = (await CreateAsync()).Id;

        // The server reads the client's row before the change, and waits for its scopes.
        await using var hold = await LockAsync("client_scope");
        var before = Clients.FindAsync(id, CancellationToken.None).AsTask();
        await IsAwaitedAsync("client_scope");
        await database.ExecuteAsync(change, new { id });
        await server.HasReceivedNotificationsAsync();
        var after = Clients.FindAsync(id, CancellationToken.None).AsTask();
        await hold.ReleaseAsync();

        using (Assert.EnterMultipleScope())
        {
            Assert.That(IsAsBefore(await before), Is.True);
            Assert.That(
                IsAsBefore(await after), Is.False, "the read does not join one that began before the change");
            Assert.That(IsAsBefore(await Clients.FindAsync(id, CancellationToken.None)), Is.False);
        }

        await database.ExecuteAsync("update token_service.policy set max_secret_age = null");
        await server.HasReceivedNotificationsAsync();

        static bool IsAsBefore(Client? client) => client is { IsEnabled: true, Secrets: [{ ExpiresAt: null }] };
    }

    [Test]
    public async Task An_unknown_id_is_cached_until_the_notification_of_the_new_client()
    {
        var id = $"client-{number + 1}";
        Assert.That(await Clients.FindAsync(id, CancellationToken.None), Is.Null);

        var client = await CreateAsync();
        await server.HasReceivedNotificationsAsync();
        Assert.That((await Clients.FindAsync(id, CancellationToken.None))?.Id, Is.EqualTo(client.Id));
    }

    private async Task<TestClient> CreateAsync()
    {
        var client = await database.CreateClientAsync($"client-{++number}");
        // A notification of its creation that arrives after it was read makes the server forget it.
        await server.HasReceivedNotificationsAsync();
        return client;
    }

    private async Task<Hold> LockAsync(string table)
    {
        var connection = await database.Source.OpenConnectionAsync();
        await connection.ExecuteAsync($"begin; lock table token_service.{table} in access exclusive mode");
        return new Hold(connection);
    }

    private Task IsAwaitedAsync(string table) => Soon.IsAsync(
        $"a query waits for {table}", async () => await database.WaitersForAsync(table) > 0);

    /// <summary>Blocks every read of a table.</summary>
    private sealed class Hold(NpgsqlConnection connection) : IAsyncDisposable
    {
        public async Task ReleaseAsync() => await connection.ExecuteAsync("commit");

        public ValueTask DisposeAsync() => connection.DisposeAsync();
    }
}
