namespace TokenService.Authentication;

/// <summary>
/// Authentication: is the caller the client it names? This room uses Clients to find the client, Secrets to verify a
/// secret, Proofs to read an assertion and Limits to bound the cost of guessing. It knows nothing of tokens or HTTP.
/// </summary>
internal static class AuthenticationSetup
{
    public static IServiceCollection AddClientAuthentication(this IServiceCollection services) => services
        .AddSingleton<SecretAuthentication>()
        .AddSingleton<AssertionAuthentication>()
        .AddSingleton<ClientAuthenticator>();
}
