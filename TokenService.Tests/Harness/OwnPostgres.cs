using Npgsql;

namespace TokenService.Tests.Harness;

/// <summary>How PostgreSQL is stopped.</summary>
public enum Shutdown
{
    /// <summary>PostgreSQL ends its sessions, and writes everything to disk.</summary>
    Fast,

    /// <summary>PostgreSQL stops at once, and recovers at the next start.</summary>
    Immediate,
}

/// <summary>
/// A PostgreSQL that one fixture may stop and start again, on the same data and at the same address. It always runs
/// from the machine's own binaries, also when the rest of the run uses another PostgreSQL.
/// </summary>
internal sealed class OwnPostgres : IAsyncDisposable
{
    // PostgreSQL's user can enter /tmp, and the path of a socket in this folder is short enough.
    private readonly string folder = $"/tmp/tsvc-test-{Guid.NewGuid():N}";

    private PostgresScript? script;

    private OwnPostgres()
    {
    }

    /// <summary>For a superuser.</summary>
    public string ConnectionString { get; private set; } = "";

    /// <summary>
    /// Creates and starts one. Without the binaries, the tests of the fixture are skipped with the script's message.
    /// </summary>
    public static async Task<OwnPostgres> CreateAsync()
    {
        await PostgresScript.IgnoreWithoutBinariesAsync("This stops a PostgreSQL of its own, and needs the binaries for that.");
        var postgres = new OwnPostgres();
        await postgres.StartAsync();
        return postgres;
    }

    /// <summary>Starts PostgreSQL, unless it runs.</summary>
    public async Task StartAsync()
    {
        script ??= await PostgresScript.StartAsync("--engine", "local", folder);
        // Each start has a socket in another place. The link to it stays where it is.
        ConnectionString = new NpgsqlConnectionStringBuilder(script.ConnectionString)
        {
            Host = $"{folder}/local/socket",
        }.ConnectionString;
    }

    /// <summary>Returns once PostgreSQL has stopped.</summary>
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

    // SIGQUIT means an immediate shutdown. Only PostgreSQL's own user may send it, so PostgreSQL sends it to itself.
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
            // PostgreSQL may stop before it answers.
        }

        await Soon.IsAsync("PostgreSQL is gone", () => !File.Exists($"{folder}/local/cluster/postmaster.pid"));
    }
}
