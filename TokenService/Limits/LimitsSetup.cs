using TokenService.Secrets;

namespace TokenService.Limits;

/// <summary>How much is too much: hashing, wrong secrets, tokens, requests in flight, refusals. Knows clients, and nothing of HTTP.</summary>
internal static class LimitsSetup
{
    public static IServiceCollection AddLimits(this IServiceCollection services)
    {
        services.AddOptions<HashingOptions>()
            .BindConfiguration(HashingOptions.Section)
            .ValidateAnnotations();
        services.AddOptions<LimitOptions>()
            .BindConfiguration(LimitOptions.Section)
            .ValidateAnnotations();
        services.AddSingleton<HashingQueue>();
        services.AddSingleton<FailedAttemptLimiter>();
        services.AddSingleton<ClientTokenLimit>();
        services.AddSingleton<ConcurrencyLimit>();
        services.AddSingleton<RefusalThrottle>();
        return services;
    }
}
