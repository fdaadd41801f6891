using TokenService.Configuration;

namespace TokenService.Clients;

/// <summary>
/// Clients with their secrets and scopes, in Postgres and in memory: which client may ask for tokens, and for what.
/// Knows nothing of how a secret is verified, of tokens or of HTTP.
/// </summary>
internal static class ClientsSetup
{
    public static IServiceCollection AddClients(this IServiceCollection services) => services
        .AddSettings<ClientCacheOptions>(ClientCacheOptions.Section, (options, section) => section.Bind(options))
        .AddSingleton<ClientStore>()
        .AddSingleton<ClientCache>();
}
