using System.Text.Json;
using Microsoft.Extensions.Logging.Console;
using Npgsql;
using TokenService.Audit;
using TokenService.Authentication;
using TokenService.Clients;
using TokenService.Configuration;
using TokenService.Endpoints;
using TokenService.Keys;
using TokenService.Limits;
using TokenService.Postgres;
using TokenService.Proofs;
using TokenService.Revocation;
using TokenService.Secrets;
using TokenService.Telemetry;
using TokenService.Tokens;
using TokenService.Usage;

namespace TokenService;

/// <summary>Builds the server from the rooms, checks that it can serve, and starts it.</summary>
internal static class Server
{
    private const string DefaultUrl = "http://127.0.0.1:8080";

    // ASP.NET Core's settings for the addresses to listen at. .NET's container images set HTTP_PORTS.
    private static readonly string[] AddressSettings =
        [WebHostDefaults.ServerUrlsKey, WebHostDefaults.HttpPortsKey, WebHostDefaults.HttpsPortsKey];

    public static async Task<int> ServeAsync(string[] args)
    {
        Scheduling.PreferBatch(); // before there are threads that would not inherit it
        Console.SetError(NewLogWriter(Console.OpenStandardError()));
        await using var app = Build(args);
        await StartAsync(app);
        // An idle server would keep the memory that only its start needed.
        GC.Collect(GC.MaxGeneration, GCCollectionMode.Aggressive);
        await app.WaitForShutdownAsync();
        return 0;
    }

    /// <summary>
    /// Writes each line of the log at once. Console.Error writes 256 characters at a time, so where standard output
    /// goes to the same file, an event could get into the middle of a line.
    /// </summary>
    public static TextWriter NewLogWriter(Stream standardError) =>
        new StreamWriter(standardError, bufferSize: 32 * 1024) { AutoFlush = true };

    /// <param name="args">Settings, as <c>--Issuer=…</c>.</param>
    /// <param name="replace">Replaces services in a test, such as the clock.</param>
    public static WebApplication Build(string[] args, Action<IServiceCollection>? replace = null)
    {
        // Settings come from the environment and the command line. appsettings.json beside the program only sets log
        // levels.
        var builder = WebApplication.CreateSlimBuilder(
            new WebApplicationOptions { Args = args, ContentRootPath = AppContext.BaseDirectory });
        builder.WebHost.UseKestrelHttpsConfiguration();
        if (!AddressSettings.Any(setting => !string.IsNullOrEmpty(builder.Configuration[setting]))
            && !builder.Configuration.GetSection("Kestrel:Endpoints").Exists())
            builder.WebHost.UseUrls(DefaultUrl);
        AddLog(builder);

        builder.Services
            .AddSingleton(TimeProvider.System)
            .AddProfile()
            .AddPostgres()
            .AddTelemetry()
            .AddAudit()
            .AddSecrets()
            .AddClients()
            .AddUsage()
            .AddKeys()
            .AddLimits()
            .AddProofs()
            .AddClientAuthentication()
            .AddTokens()
            .AddRevocation()
            .AddEndpoints();
        replace?.Invoke(builder.Services);

        var app = builder.Build();
        Settings.Check(app.Services);
        app.MapEndpoints();
        return app;
    }

    /// <summary>Checks Argon2id, the database's schema and the signing keys, then accepts requests.</summary>
    /// <exception cref="OperatorException">
    /// One of these is not usable, or the server cannot listen at its address.
    /// </exception>
    /// <exception cref="NpgsqlException">The database is unavailable or refuses the connection.</exception>
    public static async Task StartAsync(WebApplication app)
    {
        _ = app.Services.GetRequiredService<SecretHasher>(); // chosen and checked here
        await app.Services.GetRequiredService<Migrator>().CheckAsync(CancellationToken.None);
        await DatabaseUser.WarnOfRightsAsync(
            app.Services.GetRequiredService<NpgsqlDataSource>(),
            app.Services.GetRequiredService<ILoggerFactory>(),
            CancellationToken.None);
        if (await app.Services.GetRequiredService<KeyRotation>().PrepareAsync(CancellationToken.None) is { } problem)
            throw new OperatorException(problem);
        app.Services.ObserveKeys();
        try
        {
            await app.StartAsync();
        }
        // The port is in use, or the configured address is malformed.
        catch (Exception e) when (e is IOException or FormatException)
        {
            throw new OperatorException($"The server cannot listen: {e.Message}", e);
        }
    }

    private static void AddLog(WebApplicationBuilder builder)
    {
        builder.Logging.ClearProviders();
        // The log goes to standard error, because standard output has the event log, and a second writer could break
        // its lines.
        builder.Services.Configure<ConsoleLoggerOptions>(console => console.LogToStandardErrorThreshold = LogLevel.Trace);
        // This category logs whole addresses, and a caller may have put a secret into one by mistake. Also, if the
        // category is enabled, the framework makes an Activity for each request, which takes about a microsecond.
        builder.Logging.AddFilter("Microsoft.AspNetCore.Hosting.Diagnostics", LogLevel.None);
        if (builder.Environment.IsDevelopment())
        {
            builder.Logging.AddSimpleConsole(console => console.SingleLine = true);
            return;
        }

        builder.Logging.AddJsonConsole(console =>
        {
            console.TimestampFormat = "yyyy-MM-ddTHH:mm:ss.fffZ";
            console.UseUtcTimestamp = true;
            console.JsonWriterOptions = new JsonWriterOptions { Indented = false };
        });
    }
}
