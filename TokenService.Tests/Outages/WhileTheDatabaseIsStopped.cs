using Microsoft.Extensions.DependencyInjection;
using TokenService.Postgres;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Outages;

/// <summary>
/// The same promises as in <see cref="WhileTheDatabaseIsUnavailable"/>, with a PostgreSQL that is really stopped and
/// started again. The server's clock stands still unless a test moves it, so a request that waited for a time-out would
/// wait for ever.
/// </summary>
[TestFixture]
public sealed class WhileTheDatabaseIsStopped
{
    private static readonly TimeSpan ServeWhileAway = TimeSpan.FromMinutes(5);
    private static readonly TimeSpan Second = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan Instant = TimeSpan.FromMilliseconds(1);

    private OwnPostgres postgres = null!;
    private Database database = null!;
    private TestServer server = null!;
    private TestClient known = null!;
    private TestClient neverRead = null!;
    private DateTimeOffset readAt;
    private int number;

    [OneTimeSetUp]
    public async Task CreateDatabase()
    {
        postgres = await OwnPostgres.CreateAsync();
        database = await Database.CreateAsync(postgres);
    }

    [OneTimeTearDown]
    public async Task DropDatabase()
    {
        await (database?.DisposeAsync() ?? ValueTask.CompletedTask);
        await (postgres?.DisposeAsync() ?? ValueTask.CompletedTask);
    }

    [SetUp]
    public async Task StartServer()
    {
        await postgres.StartAsync();
        number++;
        known = await database.CreateClientAsync($"known-{number}");
        neverRead = await database.CreateClientAsync($"never-read-{number}");
        server = await TestServer.StartAsync(database);
        await server.IsListeningAsync();
        readAt = server.Clock.GetUtcNow();
        await IsServedAsync(known);
    }

    [TearDown]
    public ValueTask StopServer() => server?.DisposeAsync() ?? ValueTask.CompletedTask;

    [Test]
    public async Task A_known_client_is_served_and_others_are_refused_at_once([Values] Shutdown shutdown)
    {
        await StopAsync(shutdown);
        // First the pool has broken connections, then it can open no new ones.
        for (var i = 0; i < 3; i++)
        {
            await IsServedAsync(known);
            await IsUnavailableAsync(neverRead);
            await IsUnavailableAsync(new TestClient($"unknown-{i}", known.Secret));
            server.Clock.Advance(Second);
        }
    }

    [Test]
    public async Task A_known_client_is_refused_past_the_stated_age()
    {
        await StopAsync(Shutdown.Fast);
        server.Clock.Advance(readAt + ServeWhileAway - Instant - server.Clock.GetUtcNow());
        await IsServedAsync(known);

        server.Clock.Advance(Instant);
        await IsUnavailableAsync(known);
        server.Clock.Advance(Second);
        await IsUnavailableAsync(known);
    }

    [Test]
    public async Task A_restarted_database_is_used_again_without_a_restart_of_the_server([Values] Shutdown shutdown)
    {
        await StopAsync(shutdown);
        server.Clock.Advance(ServeWhileAway);
        await IsUnavailableAsync(known);
        await IsUnavailableAsync(neverRead);
        await IsAsync("/healthz/live", 200, "Healthy");
        await IsAsync("/healthz/ready", 503, "Unhealthy");

        await postgres.StartAsync();
        var made = await database.CreateClientAsync($"made-{number}");
        await ListensAgainAsync();
        foreach (var client in new[] { known, neverRead, made })
            await IsServedAsync(client);
        await IsAsync("/healthz/live", 200, "Healthy");
        await IsAsync("/healthz/ready", 200, "Healthy");
    }

    [Test]
    public async Task A_secret_revoked_by_the_last_commit_before_the_stop_is_refused_after_it(
        [Values] Shutdown shutdown)
    {
        // The server gets no notification, because in this role no trigger fires.
        await database.ExecuteAsync(
            """
            begin;
            set local session_replication_role = replica;
            update token_service.client_secret set revoked_at = now() where client_id = @Id;
            commit;
            """,
            known);
        await StopAsync(shutdown);
        await IsServedAsync(known);

        await postgres.StartAsync();
        await ListensAgainAsync();
        await IsRefusedAsync(known);
    }

    [Test]
    public async Task A_secret_revoked_before_the_server_listens_again_is_refused_once_the_database_has_answered()
    {
        await StopAsync(Shutdown.Fast);
        await postgres.StartAsync();
        await database.ExecuteAsync("update token_service.client_secret set revoked_at = now() where client_id = @Id", known);
        await IsServedAsync(known);

        await Soon.IsAsync("the database answers for another client", async () =>
        {
            server.Clock.Advance(Second);
            return (await SendAsync(neverRead)).Status == 200;
        });
        await IsRefusedAsync(known);
        await ListensAgainAsync();
        await IsRefusedAsync(known);
    }

    // Returns when the server knows of the outage and no longer takes its cache for fresh.
    private async Task StopAsync(Shutdown shutdown)
    {
        await postgres.StopAsync(shutdown);
        await Soon.IsAsync(
            "the server does not listen", () => !server.Services.GetRequiredService<ChangeNotifications>().IsListening);
        server.Clock.Advance(Second);
        await IsServedAsync(known);
        await IsUnavailableAsync(new TestClient("the-first", known.Secret));
    }

    private Task ListensAgainAsync() => server.IsListeningAsync(() => server.Clock.Advance(Second / 10));

    private async Task IsServedAsync(TestClient client) => (await SendAsync(client)).IsGrant("invoices:read");

    private async Task IsRefusedAsync(TestClient client) => (await SendAsync(client)).IsInvalidClient();

    private async Task IsUnavailableAsync(TestClient client)
    {
        var answering = SendAsync(client);
        await Soon.IsAsync("the request is answered", () => answering.IsCompleted);
        (await answering).IsError(
            503, "temporarily_unavailable",
                "The server cannot answer now. Retry-After says when to ask again.", ("Retry-After", "5"));
    }

    private Task<Answer> SendAsync(TestClient client) => TokenRequestBuilder.For(client).SendAsync(server);

    private async Task IsAsync(string path, int status, string body)
    {
        var answer = await server.GetAsync(path);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(answer.Status, Is.EqualTo(status));
            Assert.That(answer.Body, Is.EqualTo(body));
        }
    }
}
