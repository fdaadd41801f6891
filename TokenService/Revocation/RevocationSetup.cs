namespace TokenService.Revocation;

/// <summary>
/// What is dead before it expires: the status of a token, the signed list for APIs that verify offline, and the cleanup of both.
/// Uses Tokens to validate what it is shown. Knows nothing of HTTP.
/// </summary>
internal static class RevocationSetup
{
    public static IServiceCollection AddRevocation(this IServiceCollection services) => services
        .AddSingleton<RevocationStore>()
        .AddSingleton<TokenStatus>()
        .AddSingleton<RevokedTokensList>()
        .AddHostedService<RevocationCleanup>();
}
