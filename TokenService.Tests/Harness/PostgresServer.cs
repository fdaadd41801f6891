using Docker.DotNet;
using DotNet.Testcontainers.Builders;
using Testcontainers.PostgreSql;

namespace TokenService.Tests.Harness;

/// <summary>
/// The PostgreSQL this run uses: the one that TEST_POSTGRES names, else a container if a Docker engine answers, else a
/// private cluster of the machine's own binaries. The one that was chosen must work: a failure here fails the run.
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

        var (container, reason) = await ContainerServer.FindEngineAsync();
        return container is null ? await LocalServer.StartAsync(reason) : await ContainerServer.StartAsync(container);
    }

    private sealed class GivenServer : PostgresServer
    {
        public override ValueTask DisposeAsync() => ValueTask.CompletedTask;
    }

    private sealed class ContainerServer(PostgreSqlContainer container) : PostgresServer
    {
        private const string Image = "postgres:17-alpine";
        private const string ApiVersion = "DOCKER_API_VERSION";

        // Testcontainers uses this version with every engine, unless DOCKER_API_VERSION says otherwise.
        private static readonly Version Default = new(1, 44);

        // An engine that starts or hangs may not answer for minutes.
        private static readonly TimeSpan Limit = TimeSpan.FromSeconds(5);

        /// <summary>
        /// A container that is not started yet. Null: no engine answers; the reason says why if there seems to be one.
        /// </summary>
        public static async Task<(PostgreSqlContainer? Container, string? Reason)> FindEngineAsync()
        {
            try
            {
                await AgreeOnApiVersionAsync();
                // Build looks for an engine wherever Testcontainers knows one, and throws when none answers.
                var build = Task.Run(() => new PostgreSqlBuilder(Image).WithCommand("-c", "max_connections=200").Build());
                return (await build.WaitAsync(Limit), null);
            }
            catch (Exception e) when (e is DockerUnavailableException or TimeoutException)
            {
                if (Environment.GetEnvironmentVariable("DOCKER_HOST") is not { Length: > 0 } && !File.Exists("/var/run/docker.sock"))
                    return (null, null);
                var cause = e.GetBaseException().Message.ReplaceLineEndings(" ");
                return (null, $"the Docker engine does not answer (see DOCKER_HOST, {ApiVersion}): {cause}");
            }
        }

        public static async Task<PostgresServer> StartAsync(PostgreSqlContainer container)
        {
            try
            {
                // Testcontainers removes the container even when this process is killed.
                await container.StartAsync();
            }
            catch (Exception e)
            {
                throw new InvalidOperationException(
                    $"A Docker engine answers, but {Image} does not start in it. "
                    + "To use another server, set TEST_POSTGRES to its connection string.", e);
            }

            return new ContainerServer(container)
            {
                ConnectionString = container.GetConnectionString(),
                Description = $"a container of {Image}",
            };
        }

        public override ValueTask DisposeAsync() => container.DisposeAsync();

        // An older engine refuses the default. Testcontainers reads the variable once, at its first use.
        private static async Task AgreeOnApiVersionAsync()
        {
            if (Environment.GetEnvironmentVariable(ApiVersion) is { Length: > 0 })
                return;
            try
            {
                using var engine = new DockerClientBuilder().Build();
                var spoken = (await engine.System.GetVersionAsync().WaitAsync(Limit)).APIVersion;
                if (Version.Parse(spoken) < Default)
                    Environment.SetEnvironmentVariable(ApiVersion, spoken);
            }
            catch (Exception e) when (e is not TimeoutException)
            {
                // There is no engine at this address. Testcontainers knows more addresses than Docker's own client.
            }
        }
    }

    private sealed class LocalServer(PostgresScript script) : PostgresServer
    {
        public static async Task<PostgresServer> StartAsync(string? reason)
        {
            var script = await PostgresScript.StartAsync("--throwaway");
            return new LocalServer(script)
            {
                ConnectionString = script.ConnectionString,
                Description = "a private cluster of local binaries" + (reason is null ? "" : $"; {reason}"),
            };
        }

        public override ValueTask DisposeAsync() => script.DisposeAsync();
    }
}
