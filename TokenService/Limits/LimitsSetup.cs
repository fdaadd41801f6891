using TokenService.Configuration;

namespace TokenService.Limits;

/// <summary>
/// How much is too much: failed attempts, tokens, requests in flight, and how fast callers hear that they are refused. Knows
/// clients, and nothing of HTTP.
/// </summary>
internal static class LimitsSetup
{
    public static IServiceCollection AddLimits(this IServiceCollection services) => services
        .AddSettings<LimitOptions>(LimitOptions.Section)
        .AddSingleton<FailedAttemptLimiter>()
        .AddSingleton<ClientTokenLimit>()
        .AddSingleton<ConcurrencyLimit>()
        .AddSingleton<RefusalThrottle>();
}
