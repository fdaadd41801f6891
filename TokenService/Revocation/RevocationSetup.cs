namespace TokenService.Revocation;

/// <summary>
/// Revocation: the status of a token, the signed list of revoked tokens for APIs that verify offline, and the cleanup
/// of expired rows. This room uses Tokens to validate a presented token, and knows nothing of HTTP.
/// </summary>
internal static class RevocationSetup
{
    public static IServiceCollection AddRevocation(this IServiceCollection services) => services
        .AddSingleton<RevocationStore>()
        .AddSingleton<TokenStatus>()
        .AddSingleton<RevokedTokensList>()
        .AddHostedService<RevocationCleanup>();
}
