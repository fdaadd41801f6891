using Microsoft.Extensions.Logging.Abstractions;
using TokenService.Secrets;
using TokenService.Tests.Harness;

[assembly: Parallelizable(ParallelScope.Fixtures)]
[assembly: LevelOfParallelism(4)]

// This class has no namespace, so that NUnit runs it for every fixture of the assembly.
[SetUpFixture]
#pragma warning disable CA1050 // NUnit runs a set-up fixture for its namespace only; this one is for all.
public sealed class Run
#pragma warning restore CA1050
{
    private static readonly string[] Settings =
    [
        "Issuer", "ConnectionStrings__", "Keys__", "Tokens__", "Hashing__", "Limits__", "Clients__", "Events__", "Proxies", "Urls",
        "ASPNETCORE_", "Logging__",
    ];

    private static PostgresServer? server;

    /// <summary>The server, and in it the migrated database that fixtures are cloned from.</summary>
    internal static string ConnectionString => server!.ConnectionString;

    /// <summary>Hashes with the library that a server of the tests chooses by default.</summary>
    internal static SecretHasher Hasher { get; } = SecretHasher.Start(HashingLibrary.Auto, NullLogger.Instance);

    [OneTimeSetUp]
    public async Task StartPostgres()
    {
        ForgetSettings();
        server = await PostgresServer.StartAsync();
        await Database.CreateTemplateAsync();
        // Written as an error, because by default the console shows nothing else.
        TestContext.Error.WriteLine($"PostgreSQL: {server.Description}");
    }

    // Settings that a developer exported for another server must not reach the servers of the tests.
    private static void ForgetSettings()
    {
        foreach (var name in Environment.GetEnvironmentVariables().Keys.Cast<string>().Where(IsSetting))
            Environment.SetEnvironmentVariable(name, null);
    }

    private static bool IsSetting(string name) => Settings.Any(prefix => name.StartsWith(prefix, StringComparison.OrdinalIgnoreCase));

    [OneTimeTearDown]
    public async Task StopPostgres()
    {
        if (server is null)
            return;
        await Database.DropTemplateAsync();
        await server.DisposeAsync();
    }
}
