using TokenService.Secrets;
using TokenService.Tests.Harness;

[assembly: Parallelizable(ParallelScope.Fixtures)]
[assembly: LevelOfParallelism(4)]

// Outside any namespace, so that it is there for every fixture of the assembly.
[SetUpFixture]
#pragma warning disable CA1050 // NUnit takes a set-up fixture's namespace for its reach; this one's is everything.
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

    [OneTimeSetUp]
    public async Task StartPostgres()
    {
        ForgetSettings();
        SecretHasher.Start();
        server = await PostgresServer.StartAsync();
        await Database.CreateTemplateAsync();
        // As an error, since the console shows nothing less by default.
        TestContext.Error.WriteLine($"PostgreSQL: {server.Description}");
    }

    // What a developer has exported for a server of his own is not meant for those of the tests.
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
