using TokenService.Usage;

namespace TokenService.Clients;

/// <summary>
/// Who may ask, and for what: clients, their secrets and scopes, and how much they use them. Kept in Postgres and in memory. Knows nothing
/// of how a secret is proved, of tokens or of HTTP.
/// </summary>
internal static class ClientsSetup
{
    public static IServiceCollection AddClients(this IServiceCollection services)
    {
        services.AddOptions<ClientCacheOptions>()
            .BindConfiguration(ClientCacheOptions.Section)
            .ValidateAnnotations();
        services.AddSingleton<ClientStore>();
        services.AddSingleton<ClientCache>();
        services.AddSingleton<UsageCounters>();
        services.AddSingleton<UsageStore>();
        services.AddHostedService<UsageWriter>();
        return services;
    }
}
