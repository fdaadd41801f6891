using Microsoft.Extensions.Options;
using TokenService.Protocol;
using TokenService.Revocation;

namespace TokenService.Tokens;

/// <summary>
/// What we hand out, and what became of it: whether a client is entitled to a token, the token itself, signed with the key that Keys
/// names, whether it is still good, and the list of those that are not. Knows nothing of HTTP.
/// </summary>
internal static class TokensSetup
{
    public static IServiceCollection AddTokens(this IServiceCollection services)
    {
        services.AddOptions<TokenOptions>()
            .BindConfiguration(TokenOptions.Section)
            .ValidateAnnotations();
        services.AddOptions<IssuerOptions>()
            .Configure<IConfiguration>((options, configuration) => options.Issuer = configuration[nameof(Issuer)] ?? "");
        services.AddSingleton<IValidateOptions<IssuerOptions>, IssuerValidation>();
        services.AddSingleton(provider =>
            Issuer.TryParse(provider.GetRequiredService<IOptions<IssuerOptions>>().Value.Issuer, out var issuer)
                ? issuer
                : throw new InvalidOperationException("The issuer was validated before it was used."));
        services.AddSingleton<ScopeGrantCache>();
        services.AddSingleton<AccessTokenIssuer>();
        services.AddSingleton<AccessTokenValidator>();
        services.AddSingleton<RevocationStore>();
        services.AddSingleton<TokenStatus>();
        services.AddSingleton<RevokedTokensList>();
        services.AddSingleton<IntrospectionSigner>();
        services.AddHostedService<RevocationCleanup>();
        return services;
    }
}
