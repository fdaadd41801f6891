using Microsoft.Extensions.Options;
using TokenService.Configuration;
using TokenService.Protocol;

namespace TokenService.Tokens;

/// <summary>
/// Access tokens: the scope that a client is granted, the issuing of a token with the key that Keys selects, and the
/// validation of a token that a caller presents. This room knows nothing of HTTP.
/// </summary>
internal static class TokensSetup
{
    public static IServiceCollection AddTokens(this IServiceCollection services) => services
        .AddSettings<TokenOptions>(TokenOptions.Section, (options, section) => section.Bind(options))
        .AddSettings<IssuerOptions>((options, configuration) => options.Issuer = configuration[nameof(Issuer)] ?? "")
        .AddSingleton<IValidateOptions<IssuerOptions>, IssuerValidation>()
        .AddSingleton(provider =>
            Issuer.TryParse(provider.GetRequiredService<IOptions<IssuerOptions>>().Value.Issuer, out var issuer)
                ? issuer
                : throw new InvalidOperationException("The issuer was validated before it was used."))
        .AddSingleton<ScopeGrantCache>()
        .AddSingleton<AccessTokenIssuer>()
        .AddSingleton<AccessTokenValidator>()
        .AddSingleton<IntrospectionSigner>();
}
