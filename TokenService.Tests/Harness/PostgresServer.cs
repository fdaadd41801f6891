using System.Diagnostics;

namespace TokenService.Tests.Harness;

/// <summary>
/// The PostgreSQL this run uses: the one TEST_POSTGRES names, else a container where there is a Docker engine, else a private
/// cluster from the machine's own binaries. What was chosen must work: a failure here fails the run.
/// </summary>
internal abstract class PostgresServer : IAsyncDisposable
{
    /// <summary>For a superuser, or a user who may create databases and roles.</summary>
    public required string ConnectionString { get; init; }

    /// <summary>Which of the three it is, for the person who reads the output.</summary>
    public required string Description { get; init; }

    public abstract ValueTask DisposeAsync();

    public static async Task<PostgresServer> StartAsync()
    {
        if (Environment.GetEnvironmentVariable("TEST_POSTGRES") is { Length: > 0 } given)
            return new GivenServer { ConnectionString = given, Description = "the server that TEST_POSTGRES names" };
#if DOCKER
        return await ContainerServer.StartAsync();
#else
        return await LocalServer.StartAsync();
#endif
    }

    private sealed class GivenServer : PostgresServer
    {
        public override ValueTask DisposeAsync() => ValueTask.CompletedTask;
    }

#if DOCKER
    private sealed class ContainerServer(Testcontainers.PostgreSql.PostgreSqlContainer container) : PostgresServer
    {
        public static new async Task<PostgresServer> StartAsync()
        {
            // Testcontainers removes the container even when this process is killed.
            var container = new Testcontainers.PostgreSql.PostgreSqlBuilder("postgres:17-alpine")
                .WithCommand("-c", "max_connections=200")
                .Build();
            await container.StartAsync();
            return new ContainerServer(container) { ConnectionString = container.GetConnectionString(), Description = "a container" };
        }

        public override ValueTask DisposeAsync() => container.DisposeAsync();
    }
#else
    /// <summary>Lives as long as the pipe to the script's standard input, so it ends even when this process is killed.</summary>
    private sealed class LocalServer(Process script) : PostgresServer
    {
        private static readonly TimeSpan StopLimit = TimeSpan.FromSeconds(30);

        public static new async Task<PostgresServer> StartAsync()
        {
            var script = Process.Start(new ProcessStartInfo("bash", [Repository.PathTo("scripts", "postgres"), "--throwaway"])
            {
                RedirectStandardInput = true,
                RedirectStandardOutput = true,
            })!;
            var connectionString = await script.StandardOutput.ReadLineAsync();
            return connectionString is null
                ? throw new InvalidOperationException("scripts/postgres started no server; what it says stands above.")
                : new LocalServer(script) { ConnectionString = connectionString, Description = "a private cluster of local binaries" };
        }

        public override async ValueTask DisposeAsync()
        {
            script.StandardInput.Close();
            using var limit = new CancellationTokenSource(StopLimit);
            await script.WaitForExitAsync(limit.Token);
            script.Dispose();
        }
    }
#endif
}
