namespace TokenService.Usage;

/// <summary>
/// Counts in memory which credential and which scope was used when, and writes the counts to Postgres in batches.
/// Knows nothing of clients, tokens or HTTP.
/// </summary>
internal static class UsageSetup
{
    public static IServiceCollection AddUsage(this IServiceCollection services) => services
        .AddSingleton<UsageCounters>()
        .AddSingleton<UsageStore>()
        .AddHostedService<UsageWriter>();
}
