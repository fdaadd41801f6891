using Microsoft.Extensions.Options;
using TokenService.Configuration;
using TokenService.Telemetry;

namespace TokenService.Keys;

/// <summary>
/// The signing keys: which key signs now, which are published, and when the next one begins. The database keeps them,
/// with their private halves sealed. This room knows nothing of tokens, clients or HTTP.
/// </summary>
internal static class KeysSetup
{
    public static IServiceCollection AddKeys(this IServiceCollection services)
    {
        services.AddSettings<KeyOptions>(KeyOptions.Section, (options, section) => section.Bind(options));
        services.AddSingleton<IValidateOptions<KeyOptions>, KeyProfileValidation>();
        services.AddSingleton<SealingKeys>();
        services.AddSingleton(provider => provider.GetRequiredService<SealingKeys>().ForVerifiedSecrets());
        services.AddSingleton<SigningKeyStore>();
        services.AddSingleton<SigningKeys>();
        services.AddSingleton<KeyRotation>();
        services.AddHostedService(provider => provider.GetRequiredService<KeyRotation>());
        services.AddHealthChecks().AddCheck<SigningKeyHealth>("signing-key");
        return services;
    }

    /// <summary>Registers the gauges for the default algorithm's signing key.</summary>
    public static void ObserveKeys(this IServiceProvider services)
    {
        var keys = services.GetRequiredService<SigningKeys>();
        var algorithm = services.GetRequiredService<IOptions<KeyOptions>>().Value.Algorithm;
        var clock = services.GetRequiredService<TimeProvider>();
        services.GetRequiredService<Metrics>().ObserveSigningKeys(
            age: () => (clock.GetUtcNow() - keys.Ring.SigningByDefault(clock.GetUtcNow(), algorithm)?.SignsFrom)?.TotalSeconds,
            untilNextStep: () => (keys.Ring.NextStepAfter(clock.GetUtcNow()) - clock.GetUtcNow())?.TotalSeconds);
    }
}
