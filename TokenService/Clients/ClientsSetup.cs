namespace TokenService.Clients;

/// <summary>
/// Who may ask, and for what: clients, their secrets and scopes. Kept in Postgres. Knows nothing of how a secret is proved,
/// of tokens or of HTTP.
/// </summary>
internal static class ClientsSetup
{
    public static IServiceCollection AddClients(this IServiceCollection services) =>
        services.AddSingleton<ClientStore>();
}
