using TokenService.Tests.Harness;

namespace TokenService.Tests.Limits;

/// <summary>
/// Public documents are throttled like refusals, so that a flood of reads leaves the server time for clients. Here the
/// limit is 10 a second.
/// </summary>
[TestFixture]
public sealed class ThrottledDocuments
{
    // As many as one second allows are sent at once, and one more.
    private const int Burst = 11;

    private static readonly TimeSpan Turn = TimeSpan.FromMilliseconds(100);

    private Database database = null!;
    private TestServer server = null!;
    private TestClient client = null!;

    [SetUp]
    public async Task StartServer()
    {
        database = await Database.CreateAsync();
        client = await database.CreateClientAsync("billing");
        server = await TestServer.StartAsync(
            database, $"Limits:RefusalsPerSecond={Burst - 1}", "Metadata:AdvertiseAuthorizationEndpoint=true");
    }

    [TearDown]
    public async Task StopServer()
    {
        await server.DisposeAsync();
        await database.DisposeAsync();
    }

    [TestCase("/.well-known/jwks.json", 200)]
    [TestCase("/.well-known/oauth-authorization-server", 200)]
    [TestCase("/.well-known/openid-configuration", 200)]
    [TestCase("/revoked-tokens", 200)]
    [TestCase("/authorize", 400)]
    [TestCase("/nowhere", 404)]
    public async Task A_flood_of_reads_waits_and_a_client_does_not(string path, int status)
    {
        for (var i = 0; i < Burst; i++)
            Assert.That((await server.GetAsync(path)).Status, Is.EqualTo(status));
        (await TokenRequestBuilder.For(client).SendAsync(server)).IsGrant("invoices:read");
        var timers = server.Clock.Timers;
        var late = server.GetAsync(path);
        await Soon.IsAsync("the next answer waits", () => server.Clock.Timers == timers + 1);

        (await TokenRequestBuilder.For(client).SendAsync(server)).IsGrant("invoices:read");
        Assert.That(late.IsCompleted, Is.False);
        server.Clock.Advance(Turn);
        Assert.That((await late).Status, Is.EqualTo(status));
    }

    // Each 16 KiB of a document takes a turn.
    [Test]
    public async Task A_long_list_takes_several_turns_and_an_unchanged_one_takes_one()
    {
        await database.ExecuteAsync(
            """
            insert into token_service.revoked_token (jti, client_id, expires_at)
            select lpad(n::text, 22, '0'), 'x', now() + interval '1 hour' from generate_series(1, 2400) n
            """);
        var list = await server.GetAsync("/revoked-tokens");
        Assert.That(list.Body, Has.Length.InRange(80_000, 81_900), "which takes 5 turns");
        for (var i = 5; i < Burst; i++)
        {
            Assert.That(
                (await server.GetAsync("/revoked-tokens", ("If-None-Match", list.Headers["ETag"]))).Status, Is.EqualTo(304));
        }

        var timers = server.Clock.Timers;
        var late = server.GetAsync("/revoked-tokens");
        await Soon.IsAsync("the next answer waits", () => server.Clock.Timers == timers + 1);
        server.Clock.Advance(Turn);
        Assert.That((await late).Status, Is.EqualTo(200));
    }

    [TestCase("/healthz/live")]
    [TestCase("/healthz/ready")]
    public async Task A_flood_of_probes_waits_for_a_quarter_of_a_second_at_most(string path)
    {
        for (var i = 0; i < 500; i++)
            Assert.That((await server.GetAsync(path)).Status, Is.EqualTo(200));
        for (var i = 0; i < 200; i++)
            _ = server.GetAsync(path);
        var late = server.GetAsync(path);
        (await TokenRequestBuilder.For(client).SendAsync(server)).IsGrant("invoices:read");

        await Soon.IsAsync("all probes but this one wait", () => server.Clock.Timers > 200);
        server.Clock.Advance(TimeSpan.FromMilliseconds(250));
        Assert.That((await late).Status, Is.EqualTo(200));
    }

    [TestCase("GET", "/healthz/live")]
    [TestCase("GET", "/healthz/ready")]
    [TestCase("GET", "/.well-known/jwks.json")]
    [TestCase("GET", "/.well-known/oauth-authorization-server")]
    [TestCase("GET", "/revoked-tokens")]
    [TestCase("GET", "/authorize")]
    [TestCase("GET", "/nowhere")]
    [TestCase("POST", "/.well-known/jwks.json")]
    [TestCase("GET", "/token")]
    [TestCase("POST", "/introspect")]
    [TestCase("POST", "/revoke")]
    public async Task Every_answer_forbids_to_guess_its_type(string method, string path)
    {
        using var request = new HttpRequestMessage(new HttpMethod(method), path);
        using var answer = await server.Client.SendAsync(request);
        Assert.That(answer.Headers.GetValues("X-Content-Type-Options"), Is.EqualTo(["nosniff"]));
    }
}
