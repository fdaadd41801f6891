using TokenService.Configuration;

namespace TokenService.Limits;

/// <summary>
/// Limits on failed attempts, tokens per client, requests in flight and connections, and the throttles for answers to
/// callers that are not authenticated. This room uses Clients, and knows nothing of HTTP.
/// </summary>
internal static class LimitsSetup
{
    public static IServiceCollection AddLimits(this IServiceCollection services) => services
        .AddSettings<LimitOptions>(LimitOptions.Section, (options, section) => section.Bind(options))
        .AddSingleton<FailedAttemptLimiter>()
        .AddSingleton<ClientTokenLimit>()
        .AddSingleton<ConcurrencyLimit>()
        .AddSingleton<ConnectionLimit>()
        .AddSingleton<RefusalThrottle>()
        .AddSingleton<DocumentThrottle>()
        .AddSingleton<HealthThrottle>();
}
