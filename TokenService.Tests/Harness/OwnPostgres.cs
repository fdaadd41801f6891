using Npgsql;

namespace TokenService.Tests.Harness;

/// <summary>How PostgreSQL ends.</summary>
public enum Shutdown
{
    /// <summary>It tells everybody, and leaves all in order.</summary>
    Fast,

    /// <summary>It drops everything where it is, and recovers at the next start.</summary>
    Immediate,
}

/// <summary>
/// A PostgreSQL of a fixture's own, which it may stop and start again: on the same data, at the same address. It comes from the machine's
/// own binaries, wherever the PostgreSQL of the rest of the run comes from.
/// </summary>
internal sealed class OwnPostgres : IAsyncDisposable
{
    private const int NoSuchEngine = 3;

    // The server's user can go there, and the path of a socket in it is short enough.
    private readonly string folder = $"/tmp/tsvc-test-{Guid.NewGuid():N}";

    private PostgresScript? script;

    private OwnPostgres()
    {
    }

    /// <summary>For a superuser.</summary>
    public string ConnectionString { get; private set; } = "";

    /// <summary>A started one. Without the binaries, the tests of the fixture are skipped, with what the script says of it.</summary>
    public static async Task<OwnPostgres> CreateAsync()
    {
        var which = await Tool.RunAsync("bash", [PostgresScript.Path, "--engine", "local", "--which"]);
        if (which.ExitCode == NoSuchEngine)
            Assert.Ignore($"This stops a PostgreSQL of its own, and needs the binaries for that. {which.Error.Trim()}");
        var postgres = new OwnPostgres();
        await postgres.StartAsync();
        return postgres;
    }

    /// <summary>Starts it, unless it runs.</summary>
    public async Task StartAsync()
    {
        script ??= await PostgresScript.StartAsync("--engine", "local", folder);
        // Each start has a socket in another place. The link to it stays where it is.
        ConnectionString = new NpgsqlConnectionStringBuilder(script.ConnectionString) { Host = $"{folder}/local/socket" }.ConnectionString;
    }

    /// <summary>Returns once it is gone.</summary>
    public async Task StopAsync(Shutdown shutdown)
    {
        if (shutdown == Shutdown.Immediate)
            await QuitAsync();
        await (script?.DisposeAsync() ?? ValueTask.CompletedTask);
        script = null;
    }

    public async ValueTask DisposeAsync()
    {
        await StopAsync(Shutdown.Fast);
        Directory.Delete(folder, recursive: true);
    }

    // SIGQUIT is PostgreSQL's word for an immediate shutdown. Only its own user may send it, so it does so itself.
    private async Task QuitAsync()
    {
        await using var connection = new NpgsqlConnection($"{ConnectionString};Pooling=false");
        await connection.OpenAsync();
        await using var quit = new NpgsqlCommand("copy (select) to program 'kill -QUIT $(head -n 1 postmaster.pid)'", connection);
        try
        {
            await quit.ExecuteNonQueryAsync();
        }
        catch (NpgsqlException)
        {
            // It may be too dead to answer.
        }

        await Soon.IsAsync("PostgreSQL is gone", () => !File.Exists($"{folder}/local/cluster/postmaster.pid"));
    }
}
