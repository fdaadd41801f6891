using System.Diagnostics.Metrics;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.RegularExpressions;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Options;
using TokenService.Limits;
using TokenService.Secrets;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Limits;

/// <summary>
/// The server keeps only a configured number of connections open. When one more is opened, it closes connections that do
/// no work. Here the number is the smallest allowed, and four are closed at once.
/// </summary>
[TestFixture]
public sealed partial class ConnectionsAtOnce
{
    private const int Max = 64;
    private const int Batch = 4;
    private const long GiB = 1L << 30;
    private const string Body = "grant_type=client_credentials";

    private Database database = null!;
    private TestClient client = null!;
    private HashingGate hashing = null!;
    private FakeClock turns = null!;
    private TestServer server = null!;
    private List<RawConnection> opened = null!;

    [OneTimeSetUp]
    public async Task CreateDatabase()
    {
        database = await Database.CreateAsync();
        client = await database.CreateClientAsync("billing");
    }

    [SetUp]
    public async Task StartServer()
    {
        (hashing, turns, opened) = (new HashingGate(), new FakeClock(), []);
        server = await StartAsync();
    }

    [TearDown]
    public async Task StopServer()
    {
        hashing.Open();
        turns.Advance(TimeSpan.FromMinutes(1));
        foreach (var connection in opened)
            await connection.DisposeAsync();
        await server.DisposeAsync();
        hashing.Dispose();
    }

    [OneTimeTearDown]
    public async Task DropDatabase() => await (database?.DisposeAsync() ?? ValueTask.CompletedTask);

    [Test]
    public async Task Stalled_connections_are_closed_oldest_first_and_clients_are_served_on_new_and_on_kept_ones()
    {
        var kept = await OpenAsync();
        await IsGrantedAsync(kept);
        var stalled = new List<RawConnection>();
        for (var i = 1; i < Max; i++)
            stalled.Add(await OpenAsync(i % 2 == 0 ? Half(client) : ""));

        await IsGrantedAsync(await OpenAsync());

        foreach (var old in stalled.Take(Batch))
            Assert.That(await old.IsClosedAsync());
        Assert.That(Open, Is.EqualTo(Max - Batch + 1));
        // The rest of a body shows that a connection is still open.
        foreach (var young in stalled.Skip(Batch).Where((_, i) => (i + Batch + 1) % 2 == 0))
            (await (await young.SendAsync(Body[10..])).ReadAnswerAsync()).IsGrant("invoices:read");
        await IsGrantedAsync(kept);
        Assert.That(server.Log.Lines, Has.None.StartsWith("Warning Microsoft.AspNetCore").And.None.StartsWith("Error"));
    }

    [Test]
    public async Task Idle_connections_of_clients_are_closed_only_when_there_are_no_others()
    {
        var kept = new List<RawConnection>();
        for (var i = 1; i < Max; i++)
        {
            kept.Add(await OpenAsync());
            await IsGrantedAsync(kept[^1]);
        }

        // The first connection is the oldest, but the one that was used longest ago is the second.
        await IsGrantedAsync(kept[0]);
        var stranger = await OpenAsync();
        await using var late = await RawConnection.OpenAsync(server);
        Assert.That(await stranger.IsClosedAsync());
        Assert.That(Open, Is.EqualTo(Max));

        await IsGrantedAsync(late);
        await IsGrantedAsync(await OpenAsync());
        foreach (var old in kept[1..(1 + Batch)])
            Assert.That(await old.IsClosedAsync());
        Assert.That(Open, Is.EqualTo(Max - Batch + 1));
        await IsGrantedAsync(kept[0]);
        await IsGrantedAsync(kept[1 + Batch]);
    }

    [Test]
    public async Task A_connection_whose_request_is_worked_on_is_not_closed()
    {
        hashing.Close();
        var working = await OpenAsync(Whole(Guessing(0)));
        await hashing.HoldsAsync();
        var stalled = new List<RawConnection>();
        for (var i = 1; i < Max; i++)
            stalled.Add(await OpenAsync());

        await OpenAsync();
        foreach (var old in stalled.Take(Batch))
            Assert.That(await old.IsClosedAsync());
        hashing.Open();
        (await working.ReadAnswerAsync()).IsInvalidClient();
    }

    [Test]
    public async Task When_all_connections_work_the_new_one_is_closed()
    {
        hashing.Close();
        var working = new List<RawConnection>();
        for (var i = 0; i < Max; i++)
            working.Add(await OpenAsync(Whole(Guessing(i))));
        var inFlight = server.Services.GetRequiredService<ConcurrencyLimit>();
        await Soon.IsAsync("all of them work", () => inFlight.Count == Max);

        Assert.That(await IsNewOneClosedAsync());
        hashing.Open();
        foreach (var connection in working)
            (await connection.ReadAnswerAsync()).IsInvalidClient();
        await IsGrantedAsync(await OpenAsync());
    }

    private async Task<bool> IsNewOneClosedAsync()
    {
        try
        {
            await using var late = await RawConnection.OpenAsync(server);
            return await late.IsClosedAsync();
        }
        // The server closed it before the client looked whether it was accepted.
        catch (SocketException e) when (e.SocketErrorCode == SocketError.ConnectionReset)
        {
            return true;
        }
    }

    // Otherwise a flood of wrong secrets could keep all connections to itself.
    [Test]
    public async Task A_connection_whose_refusal_waits_for_its_turn_does_no_work()
    {
        await server.DisposeAsync();
        server = await StartAsync("Limits:RefusalsPerSecond=10");
        var (refused, stranger) = (await OpenAsync(), new TestClient("nobody", GeneratedSecret.Create().Value));
        // Ten refusals are sent in this second, and the first of the next.
        for (var i = 0; i < 11; i++)
            (await (await refused.SendAsync(Whole(stranger))).ReadAnswerAsync()).IsInvalidClient();
        await refused.SendAsync(Whole(stranger));
        await Soon.IsAsync("the refusal waits", () => turns.Timers == 1);
        server.Clock.Advance(TimeSpan.FromMilliseconds(1));

        for (var i = 1; i < Max; i++)
            await OpenAsync();
        await OpenAsync();
        Assert.That(await refused.IsClosedAsync());
    }

    [Test]
    public async Task The_limit_applies_to_configured_endpoints_before_TLS([Values("1.1", "2.0")] string version)
    {
        await server.DisposeAsync();
        var certificate = Path.GetTempFileName();
        await File.WriteAllBytesAsync(certificate, NewCertificate());
        server = await StartAsync(
            "Kestrel:Endpoints:Tls:Url=https://127.0.0.1:0", $"Kestrel:Endpoints:Tls:Certificate:Path={certificate}");
        File.Delete(certificate);

        using var handler = server.NewHandler();
        handler.SslOptions.RemoteCertificateValidationCallback = (_, certificate, _, _) => certificate?.Subject == "CN=localhost";
        using var overTls = new HttpClient(handler) { BaseAddress = server.Address };
        Assert.That(await StatusOverTlsAsync(overTls, version), Is.EqualTo(HttpStatusCode.OK));
        var stalled = new List<RawConnection>();
        for (var i = 1; i < Max; i++)
            stalled.Add(await OpenAsync());

        await OpenAsync();
        foreach (var old in stalled.Take(Batch))
            Assert.That(await old.IsClosedAsync());
        // If the client had to connect again, there would be one connection more.
        Assert.That(await StatusOverTlsAsync(overTls, version), Is.EqualTo(HttpStatusCode.OK));
        Assert.That(Open, Is.EqualTo(Max - Batch + 1));
    }

    [Test]
    public async Task The_log_says_at_most_once_a_minute_that_connections_are_closed()
    {
        for (var i = 0; i < Max + (3 * Batch); i++)
            await OpenAsync();
        Assert.That(Closed(), Is.EqualTo("4"));

        server.Clock.Advance(TimeSpan.FromMinutes(1));
        for (var i = 0; i < Batch; i++)
            await OpenAsync();
        Assert.That(Closed(), Is.EqualTo("4, 12"));

        string Closed() => string.Join(", ", server.Log.Lines
            .Select(line => ClosedInLine().Match(line)).Where(match => match.Success).Select(match => match.Groups[1].Value));
    }

    [Test]
    public async Task A_connection_that_ends_no_longer_counts()
    {
        for (var i = 0; i < 3; i++)
            await OpenAsync();
        Assert.That(Measured(), Is.EqualTo(3));
        foreach (var connection in opened)
            connection.EndSending();
        await Soon.IsAsync("all connections have ended", () => Measured() == 0);
    }

    [TestCase(GiB / 8, int.MaxValue, ExpectedResult = 500)]
    [TestCase(GiB / 2, int.MaxValue, ExpectedResult = 1024)]
    [TestCase(2 * GiB, int.MaxValue, ExpectedResult = 4096)]
    [TestCase(2 * GiB, 4097, ExpectedResult = 2398)]
    [TestCase(2 * GiB, 1024, ExpectedResult = 348)]
    [TestCase(2 * GiB, 256, ExpectedResult = 64)]
    [TestCase(64 * GiB, int.MaxValue, ExpectedResult = 20_000)]
    public int The_default_follows_the_memory_and_the_number_of_files_that_may_be_open(long memory, int openFiles) =>
        LimitOptions.DefaultConnections(memory, openFiles);

    private int Open => server.Services.GetRequiredService<ConnectionLimit>().Count;

    // The throttle has a clock of its own: each of its timers is one refusal that waits.
    private async Task<TestServer> StartAsync(params string[] settings)
    {
        var started = await TestServer.StartAsync(
            database.ConnectionString,
            new FakeClock(),
            services => services
                // Connections that wait for a TLS handshake stay open, however slow the test is.
                .Configure<KestrelServerOptions>(
                    kestrel => kestrel.ConfigureHttpsDefaults(tls => tls.HandshakeTimeout = TimeSpan.FromMinutes(5)))
                .AddSingleton(_ => hashing.NewThreads(queueLength: 2 * Max))
                .AddSingleton(provider => new RefusalThrottle(provider.GetRequiredService<IOptions<LimitOptions>>(), turns)),
            [$"Limits:Connections={Max}", "Limits:FailuresPerSource=10000", .. settings]);
        // The minimum rate runs on real time, and would end the stalled bodies of a slow test.
        started.Services.GetRequiredService<IOptions<KestrelServerOptions>>().Value.Limits.MinRequestBodyDataRate = null;
        return started;
    }

    /// <summary>Opens a connection, sends text, and waits until the server has accepted the connection.</summary>
    private async Task<RawConnection> OpenAsync(string text = "")
    {
        // It differs afterwards: one more, or several fewer when the server has closed connections.
        var (before, connection) = (Open, await RawConnection.OpenAsync(server));
        opened.Add(connection);
        await connection.SendAsync(text);
        await Soon.IsAsync("the server has accepted the connection", () => Open != before);
        server.Clock.Advance(TimeSpan.FromMilliseconds(1));
        return connection;
    }

    private async Task IsGrantedAsync(RawConnection connection)
    {
        await connection.SendAsync(Whole(client));
        (await connection.ReadAnswerAsync()).IsGrant("invoices:read");
        server.Clock.Advance(TimeSpan.FromMilliseconds(1));
    }

    private static string Half(TestClient caller) => $"{RawConnection.Head(caller)}Content-Length: {Body.Length}\n\n{Body[..10]}";

    private static string Whole(TestClient caller) => $"{RawConnection.Head(caller)}Content-Length: {Body.Length}\n\n{Body}";

    // The server has to hash this secret.
    private static TestClient Guessing(int i) => new($"nobody-{i}", $"a guess {i}");

    private async Task<HttpStatusCode> StatusOverTlsAsync(HttpClient http, string version)
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, "/token")
        {
            Version = Version.Parse(version),
            VersionPolicy = HttpVersionPolicy.RequestVersionExact,
            Content = new StringContent(Body, Encoding.ASCII, new MediaTypeHeaderValue("application/x-www-form-urlencoded")),
        };
        request.Headers.Authorization = new("Basic", TokenRequestBuilder.Base64($"{client.Id}:{client.Secret}"));
        using var response = await http.SendAsync(request);
        return response.StatusCode;
    }

    [GeneratedRegex("^Warning .* More than 64 connections were open, so ([0-9]+) of them that did no work were closed, and 0 new ones ")]
    private static partial Regex ClosedInLine();

    private static byte[] NewCertificate()
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        using var certificate = new CertificateRequest("CN=localhost", key, HashAlgorithmName.SHA256)
            .CreateSelfSigned(DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddDays(1));
        return certificate.Export(X509ContentType.Pkcs12);
    }

    private int Measured()
    {
        var meters = server.Services.GetRequiredService<IMeterFactory>();
        var measured = -1;
        using var listener = new MeterListener();
        listener.InstrumentPublished = (instrument, _) =>
        {
            if (instrument.Name == "token_service.connections" && instrument.Meter.Scope == meters)
                listener.EnableMeasurementEvents(instrument);
        };
        listener.SetMeasurementEventCallback<int>((_, value, _, _) => measured = value);
        listener.Start();
        listener.RecordObservableInstruments();
        return measured;
    }
}
