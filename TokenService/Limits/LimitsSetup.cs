namespace TokenService.Limits;

/// <summary>How much is too much. So far: hashing, in time and memory. Uses the digests of Clients.</summary>
internal static class LimitsSetup
{
    public static IServiceCollection AddLimits(this IServiceCollection services)
    {
        services.AddOptions<HashingOptions>()
            .BindConfiguration(HashingOptions.Section)
            .ValidateAnnotations();
        services.AddSingleton<HashingThreads>();
        return services;
    }
}
