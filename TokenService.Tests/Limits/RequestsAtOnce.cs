using System.Text;
using Microsoft.Extensions.DependencyInjection;
using TokenService.Limits;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Limits;

/// <summary>
/// The server answers only a configured number of requests at once. Here that is the smallest number allowed.
/// </summary>
[TestFixture]
public sealed class RequestsAtOnce
{
    private const int MaxInFlight = 16;

    private readonly HashingGate hashing = new();
    private Database database = null!;
    private TestServer server = null!;
    private TestClient client = null!;

    [OneTimeSetUp]
    public async Task StartServer()
    {
        database = await Database.CreateAsync();
        client = await database.CreateClientAsync("billing");
        server = await TestServer.StartAsync(
            database.ConnectionString, new FakeClock(), services => services.AddSingleton(_ => hashing.NewThreads()),
            $"Limits:RequestsInFlight={MaxInFlight}", "Limits:FailuresPerSource=10000",
            $"Hashing:MemoryKiB={Database.Cheap.MemoryKiB}", $"Hashing:Iterations={Database.Cheap.Iterations}");
        (await TokenRequestBuilder.For(client).SendAsync(server)).IsGrant("invoices:read");
    }

    [OneTimeTearDown]
    public async Task StopServer()
    {
        hashing.Open();
        await (server?.DisposeAsync() ?? ValueTask.CompletedTask);
        hashing.Dispose();
        await (database?.DisposeAsync() ?? ValueTask.CompletedTask);
    }

    [Test]
    public async Task A_request_over_the_limit_is_refused_until_others_are_answered()
    {
        hashing.Close();
        var waiting = Enumerable.Range(0, MaxInFlight)
            .Select(i => TokenRequestBuilder.For(new TestClient($"nobody-{i}", $"a guess {i}")).SendAsync(server)).ToList();
        var inFlight = server.Services.GetRequiredService<ConcurrencyLimit>();
        await Soon.IsAsync("all of them wait", () => inFlight.Count == MaxInFlight);
        (await TokenRequestBuilder.For(client).SendAsync(server)).IsError(
            503, "temporarily_unavailable",
                "The server cannot answer now. Retry-After says when to ask again.", ("Retry-After", "1"));
        Assert.That((await server.GetAsync("/.well-known/jwks.json")).Status, Is.EqualTo(200));

        hashing.Open();
        foreach (var answer in await Task.WhenAll(waiting))
            answer.IsInvalidClient();
        (await TokenRequestBuilder.For(client).SendAsync(server)).IsGrant("invoices:read");
    }

    [Test]
    public async Task A_refused_request_frees_its_place()
    {
        for (var i = 0; i <= MaxInFlight; i++)
        {
            (await TokenRequestBuilder.Anonymous().SendAsync(server)).IsInvalidClient();
            (await TokenRequestBuilder.For(client with { Secret = "a wrong one" + client.Secret })
                    .With("client_secret", "x").SendAsync(server))
                .IsError(400, "invalid_request",
                    "The client authenticates in more than one way. Send the credentials either in the header or in the body.");
            (await TokenRequestBuilder.For(client).WithScope("unheld").SendAsync(server))
                .IsError(400, "invalid_scope", "A scope is unknown or not held by this client.");
        }

        (await TokenRequestBuilder.For(client).SendAsync(server)).IsGrant("invoices:read");
    }

    // Otherwise a few slow callers could keep all others out.
    [Test]
    public async Task A_request_whose_body_has_not_arrived_does_not_count()
    {
        var slow = new List<Stream>();
        for (var i = 0; i <= MaxInFlight; i++)
        {
            var connection = await server.ConnectAsync();
            slow.Add(connection);
            await connection.WriteAsync(Encoding.ASCII.GetBytes(
                "POST /token HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 9\r\n"
                + "Expect: 100-continue\r\n\r\n"));
            // The server sends 100 Continue once it reads the body.
            var line = new byte[25];
            await connection.ReadExactlyAsync(line);
            Assert.That(Encoding.ASCII.GetString(line), Is.EqualTo("HTTP/1.1 100 Continue\r\n\r\n"));
        }

        (await TokenRequestBuilder.For(client).SendAsync(server)).IsGrant("invoices:read");
        foreach (var connection in slow)
            await connection.DisposeAsync();
    }
}
