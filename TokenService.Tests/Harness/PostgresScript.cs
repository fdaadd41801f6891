using System.Diagnostics;

namespace TokenService.Tests.Harness;

/// <summary>
/// <c>scripts/postgres</c> while it runs, and its server with it. Both live as long as the pipe to its standard input, so they end even
/// when this process is killed.
/// </summary>
internal sealed class PostgresScript : IAsyncDisposable
{
    private const int NoSuchEngine = 3;

    private static readonly TimeSpan StopLimit = TimeSpan.FromSeconds(30);

    private readonly Process script;

    private PostgresScript(Process script, string connectionString) => (this.script, ConnectionString) = (script, connectionString);

    /// <summary>For a superuser.</summary>
    public string ConnectionString { get; }

    public static string Path { get; } = Repository.PathTo("scripts", "postgres");

    public static async Task<PostgresScript> StartAsync(params string[] args)
    {
        var script = Process.Start(new ProcessStartInfo("bash", [Path, .. args])
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
        })!;
        var connectionString = await script.StandardOutput.ReadLineAsync();
        return connectionString is null
            ? throw new InvalidOperationException("scripts/postgres started no server; its output above says why.")
            : new PostgresScript(script, connectionString);
    }

    /// <summary>Skips the test if this machine has no PostgreSQL of its own.</summary>
    public static async Task IgnoreWithoutBinariesAsync(string reason)
    {
        var which = await Tool.RunAsync("bash", [Path, "--engine", "local", "--which"]);
        if (which.ExitCode == NoSuchEngine)
            Assert.Ignore($"{reason} {which.Error.Trim()}");
    }

    public async ValueTask DisposeAsync()
    {
        script.StandardInput.Close();
        using var limit = new CancellationTokenSource(StopLimit);
        await script.WaitForExitAsync(limit.Token);
        script.Dispose();
    }
}
