using Dapper;
using Microsoft.Extensions.DependencyInjection;
using Npgsql;
using TokenService.Clients;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Caching;

/// <summary>Clients are read once and then known. A lock on a table shows who asks the database, and holds them up.</summary>
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
        // Whoever is held up waits for the test, however slow it is.
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
    public async Task One_that_is_known_is_served_without_the_database()
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
    public async Task What_changes_about_one_client_leaves_the_others_known()
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

    // Or all that is in use would be read anew every half minute.
    [Test]
    public async Task The_writing_of_uses_leaves_every_client_known()
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
    public async Task Many_who_need_one_client_at_once_read_it_once()
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
    public async Task A_caller_who_goes_away_leaves_the_others_waiting()
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
    public async Task What_was_read_before_a_change_is_not_kept_after_it(string change)
    {
        var id = (await CreateAsync()).Id;

        // The client's row is read before the change, its scopes are waited for.
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
            Assert.That(IsAsBefore(await after), Is.False, "it joins no read that began before the change");
            Assert.That(IsAsBefore(await Clients.FindAsync(id, CancellationToken.None)), Is.False);
        }

        await database.ExecuteAsync("update token_service.policy set max_secret_age = null");
        await server.HasReceivedNotificationsAsync();

        static bool IsAsBefore(Client? client) => client is { IsEnabled: true, Secrets: [{ ExpiresAt: null }] };
    }

    [Test]
    public async Task That_there_is_no_such_client_is_remembered_until_the_news_that_there_is()
    {
        var id = $"client-{number + 1}";
        Assert.That(await Clients.FindAsync(id, CancellationToken.None), Is.Null);

        var client = await CreateAsync();
        await server.HasReceivedNotificationsAsync();
        Assert.That((await Clients.FindAsync(id, CancellationToken.None))?.Id, Is.EqualTo(client.Id));
    }

    private Task<TestClient> CreateAsync() => database.CreateClientAsync($"client-{++number}");

    private async Task<Hold> LockAsync(string table)
    {
        var connection = await database.Source.OpenConnectionAsync();
        await connection.ExecuteAsync($"begin; lock table token_service.{table} in access exclusive mode");
        return new Hold(connection);
    }

    private Task IsAwaitedAsync(string table) => Soon.IsAsync(
        $"somebody waits for {table}", async () => await database.WaitersForAsync(table) > 0);

    /// <summary>Keeps everybody from reading a table.</summary>
    private sealed class Hold(NpgsqlConnection connection) : IAsyncDisposable
    {
        public async Task ReleaseAsync() => await connection.ExecuteAsync("commit");

        public ValueTask DisposeAsync() => connection.DisposeAsync();
    }
}
