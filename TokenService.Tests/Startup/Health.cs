using Npgsql;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Startup;

/// <summary>What an orchestrator is told, and what clients are, as the database goes away and comes back.</summary>
[TestFixture]
public sealed class Health
{
    private Database database = null!;
    private TestClient client = null!;
    private DatabaseProxy wire = null!;
    private TestServer server = null!;

    [SetUp]
    public async Task StartServer()
    {
        database = await Database.CreateAsync();
        client = await database.CreateClientAsync("billing");
        wire = new DatabaseProxy(database);
        server = await TestServer.StartAsync(wire.ConnectionString, new FakeClock(), "Clients:ServeWhileAway=00:00:00");
    }

    [TearDown]
    public async Task StopServer()
    {
        await server.DisposeAsync();
        wire.Dispose();
        await database.DisposeAsync();
    }

    [Test]
    public async Task A_server_with_its_database_is_live_and_ready()
    {
        await IsAsync("/healthz/live", 200, "Healthy");
        await IsAsync("/healthz/ready", 200, "Healthy");
    }

    [Test]
    public async Task A_server_without_its_database_is_live_and_not_ready()
    {
        wire.Cut();

        await IsAsync("/healthz/live", 200, "Healthy");
        await IsAsync("/healthz/ready", 503, "Unhealthy");
    }

    [Test]
    public async Task A_database_that_comes_back_is_used_again()
    {
        (await TokenRequestBuilder.For(client).SendAsync(server)).IsGrant("invoices:read");

        // The first meets a connection that died, the second gets none. A second later, as until then a known client is remembered.
        wire.Cut();
        server.Clock.Advance(TimeSpan.FromSeconds(3));
        await IsUnavailableAsync();
        await IsUnavailableAsync();

        // A database that did not answer is asked again after a second.
        wire.Mend();
        server.Clock.Advance(TimeSpan.FromSeconds(1));
        (await TokenRequestBuilder.For(client).SendAsync(server)).IsGrant("invoices:read");
        await IsAsync("/healthz/ready", 200, "Healthy");
    }

    [Test]
    public async Task A_database_that_lets_nobody_in_is_away()
    {
        await using var server = await TestServer.StartAsync(database);
        await using var admin = NpgsqlDataSource.Create(Run.ConnectionString);
        var name = new NpgsqlConnectionStringBuilder(database.ConnectionString).Database;
        await using var close = admin.CreateCommand(
            $"alter database {name} allow_connections false; "
            + $"select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}'");
        await close.ExecuteNonQueryAsync();

        // The first meets a connection that died, the second is not let in.
        for (var i = 0; i < 2; i++)
        {
            (await TokenRequestBuilder.For(client).SendAsync(server)).IsError(
                503, "temporarily_unavailable", "The server cannot answer now. Ask again later.", ("Retry-After", "5"));
        }
    }

    private async Task IsUnavailableAsync() =>
        (await TokenRequestBuilder.For(client).SendAsync(server)).IsError(
            503, "temporarily_unavailable", "The server cannot answer now. Ask again later.", ("Retry-After", "5"));

    private async Task IsAsync(string path, int status, string body)
    {
        using var response = await server.Client.GetAsync(path);
        using (Assert.EnterMultipleScope())
        {
            Assert.That((int)response.StatusCode, Is.EqualTo(status));
            Assert.That(await response.Content.ReadAsStringAsync(), Is.EqualTo(body));
            Assert.That(response.Headers.CacheControl?.NoStore, Is.True);
        }
    }
}
