using TokenService.Configuration;

namespace TokenService.Secrets;

/// <summary>
/// What a secret looks like, its Argon2id digest, the queue before the threads that hash, and the secrets that were verified lately.
/// Knows nothing of clients, whose secrets they are, or of HTTP.
/// </summary>
internal static class SecretsSetup
{
    public static IServiceCollection AddSecrets(this IServiceCollection services) => services
        .AddSettings<HashingOptions>(HashingOptions.Section)
        .AddSingleton<HashingQueue>()
        .AddSingleton<VerifiedSecretCache>();
}
