using TokenService.Configuration;

namespace TokenService.Clients;

/// <summary>
/// Who may ask for tokens, and for what: clients with their secrets and scopes, from Postgres and in memory. Knows nothing of how a
/// secret is verified, of tokens or of HTTP.
/// </summary>
internal static class ClientsSetup
{
    public static IServiceCollection AddClients(this IServiceCollection services) => services
        .AddSettings<ClientCacheOptions>(ClientCacheOptions.Section)
        .AddSingleton<ClientStore>()
        .AddSingleton<ClientCache>();
}
