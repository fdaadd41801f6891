namespace TokenService.Keys;

/// <summary>What we sign with: which key signs now, which are published. Kept in Postgres, sealed. Knows nothing of tokens, clients or HTTP.</summary>
internal static class KeysSetup
{
    public static IServiceCollection AddKeys(this IServiceCollection services)
    {
        services.AddOptions<KeyOptions>()
            .BindConfiguration(KeyOptions.Section)
            .ValidateAnnotations();
        services.AddSingleton<SealingKeys>();
        services.AddSingleton<SigningKeyStore>();
        services.AddSingleton<SigningKeys>();
        services.AddHealthChecks().AddCheck<SigningKeys>("signing-key");
        return services;
    }
}
