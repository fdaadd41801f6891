using TokenService.Configuration;

namespace TokenService.Secrets;

/// <summary>
/// Client secrets: their form, their Argon2id digests and the library that computes them, the hashing threads and their
/// queues, and the cache of verified secrets, which the database keeps too. This room knows nothing of clients or HTTP;
/// the keys for the MACs of verified secrets come from the room Keys.
/// </summary>
internal static class SecretsSetup
{
    public static IServiceCollection AddSecrets(this IServiceCollection services) => services
        .AddSettings<HashingOptions>(HashingOptions.Section, (options, section) => section.Bind(options))
        .AddSingleton(services => SecretHasher.Start(
            Settings.Get<HashingOptions>(services).Library, services.GetRequiredService<ILogger<SecretHasher>>()))
        .AddSingleton<HashingQueue>()
        .AddSingleton<VerifiedSecretCache>()
        .AddSingleton<VerifiedSecretQueue>()
        .AddHostedService<VerifiedSecretWriter>();
}
