using System.Diagnostics;
using System.Reflection;
using Npgsql;

namespace TokenService.Bench;

/// <summary>The PostgreSQL of scripts/postgres, which runs for as long as its standard input is open.</summary>
internal sealed class Postgres(Process script, string connectionString) : IAsyncDisposable
{
    private static readonly string Script = Path.Combine(
        typeof(Postgres).Assembly.GetCustomAttributes<AssemblyMetadataAttribute>().Single(data => data.Key == "RepositoryRoot").Value!,
        "scripts", "postgres");

    /// <summary>Connects as the superuser.</summary>
    public string ConnectionString { get; } = connectionString;

    /// <param name="ct">Ends the start.</param>
    /// <param name="cores">The cores that PostgreSQL may use; null: all.</param>
    public static async Task<Postgres> StartAsync(CancellationToken ct, string? cores = null)
    {
        var script = Process.Start(Cores.Pin(cores, new ProcessStartInfo("bash", [Script, "--throwaway"])
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
        }))!;
        var connectionString = await script.StandardOutput.ReadLineAsync(CancellationToken.None);
        var postgres = new Postgres(script, connectionString ?? "");
        if (connectionString is not null && !ct.IsCancellationRequested)
            return postgres;

        await postgres.DisposeAsync();
        ct.ThrowIfCancellationRequested();
        throw new InvalidOperationException("scripts/postgres started no server; its output above says why.");
    }

    /// <summary>Creates and migrates a database.</summary>
    /// <returns>Its connection string for the superuser.</returns>
    public async Task<string> MakeDatabaseAsync(string name, CancellationToken ct)
    {
        await using (var postgres = NpgsqlDataSource.Create(ConnectionString))
        await using (var create = postgres.CreateCommand($"create database {name}"))
            await create.ExecuteNonQueryAsync(ct);
        var database = new NpgsqlConnectionStringBuilder(ConnectionString) { Database = name }.ConnectionString;
        await TokenServer.RunAsync(["migrate"], "", database, ct);
        return database;
    }

    /// <summary>The same connection string, with the rights of the service.</summary>
    public static string ForService(string connectionString) =>
        new NpgsqlConnectionStringBuilder(connectionString) { Options = "-c role=token_service_app" }.ConnectionString;

    public async ValueTask DisposeAsync()
    {
        script.StandardInput.Close();
        await script.WaitForExitAsync();
        script.Dispose();
    }
}
