using System.Net;
using System.Net.Sockets;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Npgsql;
using TokenService.Audit;
using TokenService.Postgres;

namespace TokenService.Tests.Harness;

/// <summary>The real server on a real socket, as an operator starts it: nothing replaced but the clock.</summary>
internal sealed class TestServer : IAsyncDisposable
{
    /// <summary>
    /// The issuer, unless a test says otherwise. The server listens on another port, so it must use its setting.
    /// </summary>
    public const string Issuer = "http://127.0.0.1:8080";

    private readonly WebApplication app;

    private TestServer(WebApplication app, FakeClock clock, CapturedLog log, CapturedEvents events)
    {
        this.app = app;
        Clock = clock;
        Log = log;
        Events = events;
        Address = new Uri(app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.Single());
        Client = NewClient();
    }

    public FakeClock Clock { get; }

    /// <summary>All that was logged, at any level.</summary>
    public CapturedLog Log { get; }

    /// <summary>The lines of its event log.</summary>
    public CapturedEvents Events { get; }

    public Uri Address { get; }

    /// <summary>Connects to this server, also when an address names another host.</summary>
    public HttpClient Client { get; }

    public IServiceProvider Services => app.Services;

    /// <param name="database">The server's database.</param>
    /// <param name="settings">Added to the standard settings, or replacing them, as <c>Name=value</c>.</param>
    public static Task<TestServer> StartAsync(Database database, params string[] settings) =>
        StartAsync(database.ConnectionString, new FakeClock(), settings);

    public static Task<TestServer> StartAsync(string connectionString, FakeClock clock, params string[] settings) =>
        StartAsync(connectionString, clock, _ => { }, settings);

    /// <param name="connectionString">The server's database.</param>
    /// <param name="clock">The server's clock.</param>
    /// <param name="replace">Replaces further services.</param>
    /// <param name="settings">As above.</param>
    public static async Task<TestServer> StartAsync(
        string connectionString, FakeClock clock, Action<IServiceCollection> replace, params string[] settings)
    {
        var log = new CapturedLog();
        var events = new CapturedEvents();
        var app = Server.Build(
            CommandLine(connectionString, settings),
            services => replace(services
                .AddSingleton<TimeProvider>(clock)
                .AddSingleton<EventOutput>(events)
                .AddLogging(logging => logging.ClearProviders().AddProvider(log).SetMinimumLevel(LogLevel.Trace))));
        try
        {
            await Server.StartAsync(app);
            return new TestServer(app, clock, log, events);
        }
        catch
        {
            await app.DisposeAsync();
            throw;
        }
    }

    /// <summary>The arguments of a server: the standard settings, then those of a test.</summary>
    public static string[] CommandLine(string connectionString, string[] settings)
    {
        string[] standard =
        [
            "urls=http://127.0.0.1:0",
            $"Issuer={Issuer}",
            $"ConnectionStrings:TokenService={AsService(connectionString)}",
            "Keys:SealingKeys:test=c2VhbGluZy1rZXktb2YtdGhlLXRlc3RzLTMyLWJ5dGU=",
        ];
        return [.. standard.Concat(settings).Select(setting => $"--{setting}")];
    }

    /// <summary>
    /// Starts a server that listens at the address of its issuer, for programs that know only the issuer.
    /// </summary>
    public static Task<TestServer> StartAtItsIssuerAsync(Database database, params string[] settings) =>
        StartAtItsIssuerAsync(database, "http", address => [.. settings, $"urls={address}"]);

    /// <summary>The same with TLS, on a listener of its own that the settings name, as an operator names it.</summary>
    public static Task<TestServer> StartAtItsIssuerAsync(Database database, TestCertificate certificate, params string[] settings) =>
        StartAtItsIssuerAsync(
            database,
            "https",
            address =>
            [
                .. settings, "urls=", $"Kestrel:Endpoints:Tls:Url={address}", $"Kestrel:Endpoints:Tls:Certificate:Path={certificate.Path}",
            ]);

    private static async Task<TestServer> StartAtItsIssuerAsync(Database database, string scheme, Func<string, string[]> settingsFor)
    {
        for (var attempt = 1; ; attempt++)
        {
            var address = $"{scheme}://127.0.0.1:{FreePort()}";
            try
            {
                return await StartAsync(database, [.. settingsFor(address), $"Issuer={address}"]);
            }
            catch (IOException) when (attempt < 10)
            {
                // Another program took the port in the meantime.
            }
        }
    }

    private static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }

    /// <summary>With the rights that the service needs, and no others.</summary>
    private static string AsService(string connectionString) =>
        new NpgsqlConnectionStringBuilder(connectionString) { Options = "-c role=token_service_app" }.ConnectionString;

    /// <summary>A client with its own connections to this server, also when an address names another host.</summary>
    public HttpClient NewClient() => new(NewHandler()) { BaseAddress = Address };

    public SocketsHttpHandler NewHandler() => new()
    {
        ConnectCallback = async (_, ct) => await ConnectAsync(ct),
    };

    /// <summary>A bare connection, for requests that no HTTP client would send.</summary>
    public async Task<NetworkStream> ConnectAsync(CancellationToken ct = default)
    {
        var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        await socket.ConnectAsync(IPAddress.Parse(Address.Host), Address.Port, ct);
        return new NetworkStream(socket, ownsSocket: true);
    }

    /// <summary>
    /// Waits until the server has received the notifications of all that is committed by now. Needed where a test
    /// changes a client that the server has already read.
    /// </summary>
    public async Task HasReceivedNotificationsAsync()
    {
        var subject = $"test-{Guid.NewGuid():N}";
        var isReceived = false;
        using var subscription = Services.GetRequiredService<ChangeNotifications>()
            .Subscribe(subject, _ => Volatile.Write(ref isReceived, true));
        await using var notify = Services.GetRequiredService<NpgsqlDataSource>().CreateCommand($"notify token_service, '{subject}'");
        await Soon.IsAsync("the server receives a notification", async () =>
        {
            // Sent again each time, because a notification is lost while the server does not listen.
            await notify.ExecuteNonQueryAsync();
            return Volatile.Read(ref isReceived);
        });
    }

    /// <summary>Waits until the server listens for notifications.</summary>
    /// <param name="whileWaiting">Moves the server's clock, where the server needs that to connect again.</param>
    public Task IsListeningAsync(
        Action? whileWaiting = null) => Soon.IsAsync("the server listens for notifications", () =>
    {
        whileWaiting?.Invoke();
        return Services.GetRequiredService<ChangeNotifications>().IsListening;
    });

    /// <summary>Stops the server as SIGTERM does: it finishes the requests in flight.</summary>
    public Task StopAsync() => app.StopAsync();

    public async ValueTask DisposeAsync()
    {
        Client.Dispose();
        await app.DisposeAsync();
        Log.Dispose();
    }
}
