using TokenService.Clients;
using TokenService.Configuration;
using TokenService.Keys;
using TokenService.Postgres;
using TokenService.Secrets;
using TokenService.Telemetry;

namespace TokenService.Commands;

/// <summary>The services that commands need, with the same settings as the server.</summary>
internal static class CommandHost
{
    public static ServiceProvider Build() => new ServiceCollection()
        .AddSingleton<IConfiguration>(new ConfigurationBuilder().AddEnvironmentVariables().Build())
        .AddLogging()
        .AddSingleton(TimeProvider.System)
        .AddProfile()
        .AddPostgres()
        .AddTelemetry()
        .AddSecrets()
        .AddClients()
        .AddKeys()
        .BuildServiceProvider();

    /// <summary>Hashes a secret at the configured cost.</summary>
    public static Argon2Digest Digest(this IServiceProvider services, string secret)
    {
        var hasher = services.GetRequiredService<SecretHasher>();
        var cost = Settings.Get<HashingOptions>(services).Cost;
        return hasher.Hash(secret, cost)
            ?? throw new OperatorException($"There is not enough memory for a digest of {cost.MemoryKiB} KiB.");
    }
}
