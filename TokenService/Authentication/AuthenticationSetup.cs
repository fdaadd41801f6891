namespace TokenService.Authentication;

/// <summary>
/// Is the caller the client it names? Uses Clients to find the client, Secrets to verify a secret and Limits to bound what guessing
/// costs. Knows nothing of tokens or HTTP.
/// </summary>
internal static class AuthenticationSetup
{
    public static IServiceCollection AddClientAuthentication(this IServiceCollection services) => services
        .AddSingleton<SecretAuthentication>()
        .AddSingleton<ClientAuthenticator>();
}
