using Npgsql;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Startup;

/// <summary>
/// The answers to an orchestrator and to clients while the database is unavailable and when it is back.
/// </summary>
[TestFixture]
public sealed class Health
{
    private static readonly TimeSpan Second = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan Instant = TimeSpan.FromMilliseconds(1);

    private Database database = null!;
    private TestClient client = null!;
    private DatabaseProxy proxy = null!;
    private TestServer server = null!;

    [SetUp]
    public async Task StartServer()
    {
        database = await Database.CreateAsync();
        client = await database.CreateClientAsync("billing");
        proxy = new DatabaseProxy(database);
        server = await TestServer.StartAsync(
            proxy.ConnectionString, new FakeClock(), "Clients:ServeWhileAway=00:00:00");
    }

    [TearDown]
    public async Task StopServer()
    {
        await server.DisposeAsync();
        proxy.Dispose();
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
        proxy.Cut();

        await IsAsync("/healthz/live", 200, "Healthy");
        await IsAsync("/healthz/ready", 503, "Unhealthy");
    }

    [Test]
    public async Task Readiness_is_checked_once_a_second()
    {
        await IsAsync("/healthz/ready", 200, "Healthy");
        proxy.Cut();
        server.Clock.Advance(Second - Instant);
        await IsAsync("/healthz/ready", 200, "Healthy");

        server.Clock.Advance(Instant);
        await IsAsync("/healthz/ready", 503, "Unhealthy");
        proxy.Mend();
        server.Clock.Advance(Second - Instant);
        await IsAsync("/healthz/ready", 503, "Unhealthy");

        server.Clock.Advance(Instant);
        await IsAsync("/healthz/ready", 200, "Healthy");
    }

    // The clock stands still, so each request that did not share the check would wait with a connection of its own.
    [Test]
    public async Task Many_requests_for_readiness_take_one_connection()
    {
        await IsAsync("/healthz/ready", 200, "Healthy");
        server.Clock.Advance(Second);
        proxy.SilenceAll();
        var before = proxy.Accepted;
        var asking = Enumerable.Range(0, 50).Select(_ => server.GetAsync("/healthz/ready")).ToList();
        await Soon.IsAsync("all requests are answered", () =>
        {
            server.Clock.Advance(Second);
            return asking.All(one => one.IsCompleted);
        });

        foreach (var answer in await Task.WhenAll(asking))
            Assert.That((answer.Status, answer.Body), Is.EqualTo((503, "Unhealthy")));
        Assert.That(proxy.Accepted - before, Is.LessThan(5));
    }

    [Test]
    public async Task An_outage_is_logged_when_it_begins_and_when_it_ends_and_not_for_each_request()
    {
        await IsAsync("/healthz/ready", 200, "Healthy");
        proxy.Cut();
        for (var i = 0; i < 10; i++)
        {
            server.Clock.Advance(Second);
            await IsAsync("/healthz/ready", 503, "Unhealthy");
        }

        proxy.Mend();
        server.Clock.Advance(Second);
        await IsAsync("/healthz/ready", 200, "Healthy");

        var lines = server.Log.Lines.Where(line => line.Contains("eadiness") || line.Contains("HealthCheck")).ToList();
        Assert.That(lines, Has.Count.EqualTo(2));
        Assert.That(lines[0], Does.StartWith("Warning TokenService.Endpoints.ReadinessEndpoint: This replica is not ready. postgres: "));
        Assert.That(lines[0], Does.Not.Contain("\n"));
        Assert.That(lines[1], Does.StartWith("Information TokenService.Endpoints.ReadinessEndpoint: This replica is ready again"));
    }

    [Test]
    public async Task The_server_uses_its_database_again_after_an_outage()
    {
        (await TokenRequestBuilder.For(client).SendAsync(server)).IsGrant("invoices:read");

        // The first request meets a dead connection, the second gets none. The clock advances first, because a cached
        // client is served for a while without the database.
        proxy.Cut();
        server.Clock.Advance(TimeSpan.FromSeconds(3));
        await IsUnavailableAsync();
        await IsUnavailableAsync();

        // After a failure the server waits a second before it tries the database again. It does so in the background, and
        // the caller whose request began it does not wait.
        proxy.Mend();
        await Soon.IsAsync("the client is served", async () =>
        {
            server.Clock.Advance(TimeSpan.FromSeconds(1));
            return (await TokenRequestBuilder.For(client).SendAsync(server)).Status == 200;
        });
        await IsAsync("/healthz/ready", 200, "Healthy");
    }

    [Test]
    public async Task A_database_that_refuses_connections_counts_as_unavailable()
    {
        await using var server = await TestServer.StartAsync(database);
        await using var admin = NpgsqlDataSource.Create(Run.ConnectionString);
        var name = new NpgsqlConnectionStringBuilder(database.ConnectionString).Database;
        await using var close = admin.CreateCommand(
            $"alter database {name} allow_connections false; "
            + $"select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}'");
        await close.ExecuteNonQueryAsync();

        // The first request meets a dead connection, the second cannot open one.
        for (var i = 0; i < 2; i++)
        {
            (await TokenRequestBuilder.For(client).SendAsync(server)).IsError(
                503, "temporarily_unavailable",
                    "The server cannot answer now. Retry-After says when to ask again.", ("Retry-After", "5"));
        }
    }

    private async Task IsUnavailableAsync() =>
        (await TokenRequestBuilder.For(client).SendAsync(server)).IsError(
            503, "temporarily_unavailable",
                "The server cannot answer now. Retry-After says when to ask again.", ("Retry-After", "5"));

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
