namespace TokenService.Usage;

/// <summary>
/// Which credential and which scope was used when: counted in memory, written to Postgres in batches. Uses Clients for what it
/// counts. Knows nothing of tokens or HTTP.
/// </summary>
internal static class UsageSetup
{
    public static IServiceCollection AddUsage(this IServiceCollection services) => services
        .AddSingleton<UsageCounters>()
        .AddSingleton<UsageStore>()
        .AddHostedService<UsageWriter>();
}
