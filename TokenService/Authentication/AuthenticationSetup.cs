namespace TokenService.Authentication;

/// <summary>Is the caller the client it names? Asks Clients who that is and Limits to hash. Knows nothing of tokens or HTTP.</summary>
internal static class AuthenticationSetup
{
    public static IServiceCollection AddClientAuthentication(this IServiceCollection services) =>
        services.AddSingleton<ClientAuthenticator>();
}
