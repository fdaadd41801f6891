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
    private sealed class LocalServer(PostgresScript script) : PostgresServer
    {
        public static new async Task<PostgresServer> StartAsync()
        {
            var script = await PostgresScript.StartAsync("--throwaway");
            return new LocalServer(script)
            {
                ConnectionString = script.ConnectionString,
                Description = "a private cluster of local binaries",
            };
        }

        public override ValueTask DisposeAsync() => script.DisposeAsync();
    }
#endif
}
