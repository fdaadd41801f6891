using Npgsql;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Outages;

/// <summary>
/// A database that answers the heartbeat but takes long for everything else is slow, and not unavailable: a request waits
/// for it, and nothing old is served.
/// </summary>
[TestFixture]
public sealed class WhileTheDatabaseIsSlow
{
    private static readonly TimeSpan Second = TimeSpan.FromSeconds(1);

    private Database database = null!;
    private TestServer server = null!;
    private TestClient client = null!;
    private NpgsqlConnection holder = null!;

    [SetUp]
    public async Task StartServer()
    {
        database = await Database.CreateAsync();
        client = await database.CreateClientAsync("billing");
        server = await TestServer.StartAsync($"{database.ConnectionString};Command Timeout=60", new FakeClock());
        await server.IsListeningAsync();
        holder = await database.Source.OpenConnectionAsync();
        await using var command = new NpgsqlCommand("begin; lock table token_service.client in access exclusive mode", holder);
        await command.ExecuteNonQueryAsync();
    }

    [TearDown]
    public async Task StopServer()
    {
        await holder.DisposeAsync();
        await server.DisposeAsync();
        await database.DisposeAsync();
    }

    [Test]
    public async Task A_request_waits_for_a_slow_database_and_is_answered()
    {
        var answering = TokenRequestBuilder.For(client).SendAsync(server);
        await Soon.IsAsync("the server waits for the table", async () => await database.WaitersForAsync("client") == 1);
        await AdvanceAsync(4);
        Assert.That(answering.IsCompleted, Is.False);

        await ReleaseAsync();
        (await answering).IsGrant("invoices:read");
        Assert.That(server.Log.Lines, Has.None.Contain("does not answer"));
    }

    [Test]
    public async Task After_five_seconds_the_request_gets_503_and_the_others_still_wait()
    {
        var answering = TokenRequestBuilder.For(client).SendAsync(server);
        await Soon.IsAsync("the server waits for the table", async () => await database.WaitersForAsync("client") == 1);
        await AdvanceAsync(5);
        var answer = await answering;
        answer.IsError(503, "temporarily_unavailable",
            "The server cannot answer now. Retry-After says when to ask again.", ("Retry-After", "5"));
        Assert.That((await server.Events.OfAsync(answer.EventId)).GetProperty("reason").GetString(), Is.EqualTo("database_slow"));

        // If the database were taken for unavailable, this request would be refused at once.
        var next = TokenRequestBuilder.For(client).SendAsync(server);
        await Soon.IsAsync("the server waits for the table again", async () => await database.WaitersForAsync("client") >= 1);
        await ReleaseAsync();
        (await next).IsGrant("invoices:read");
        Assert.That(server.Log.Lines, Has.None.Contain("does not answer"));
    }

    // The heartbeat is answered after each second, as it would be in real time.
    private async Task AdvanceAsync(int seconds)
    {
        for (var i = 0; i < seconds; i++)
        {
            server.Clock.Advance(Second);
            await server.HasReceivedNotificationsAsync();
        }
    }

    private async Task ReleaseAsync()
    {
        await using var command = new NpgsqlCommand("commit", holder);
        await command.ExecuteNonQueryAsync();
    }
}
