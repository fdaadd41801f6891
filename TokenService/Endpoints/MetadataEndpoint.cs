using System.Text.Json;
using System.Text.Json.Serialization;
using TokenService.Authentication;
using TokenService.Jose;
using TokenService.Protocol;
using TokenService.Revocation;

namespace TokenService.Endpoints;

/// <summary>Authorization server metadata, RFC 8414 §2: exactly what works.</summary>
internal sealed record Metadata(
    string Issuer,
    string TokenEndpoint,
    string JwksUri,
    IReadOnlyList<string> GrantTypesSupported,
    IReadOnlyList<string> ResponseTypesSupported,
    IReadOnlyList<string> TokenEndpointAuthMethodsSupported,
    string IntrospectionEndpoint,
    IReadOnlyList<string> IntrospectionEndpointAuthMethodsSupported,
    IReadOnlyList<string> IntrospectionSigningAlgValuesSupported,
    string RevocationEndpoint,
    IReadOnlyList<string> RevocationEndpointAuthMethodsSupported,
    string RevokedTokensUri);

/// <summary>
/// The metadata where RFC 8414 §3 puts it, between host and path of the issuer, and where OpenID Connect Discovery §4 does,
/// behind the path, for verifiers that only know that name.
/// </summary>
internal sealed class MetadataEndpoint(Issuer issuer)
{
    // It changes only when this server is configured anew.
    private static readonly TimeSpan MaxAge = TimeSpan.FromMinutes(5);

    private readonly CacheableDocument document = new(
        JsonSerializer.SerializeToUtf8Bytes(
            new Metadata(
                Issuer: issuer.Value,
                TokenEndpoint: issuer.Endpoint(Endpoints.TokenEndpoint.Path),
                JwksUri: issuer.Endpoint(JwksEndpoint.Path),
                // RFC 8414 §2: absent, it would mean the authorization code and implicit grants.
                GrantTypesSupported: ["client_credentials"],
                // RFC 8414 §2 demands the member; there is no authorization endpoint whose response types it could list.
                ResponseTypesSupported: [],
                TokenEndpointAuthMethodsSupported: ClientCredentials.Methods,
                IntrospectionEndpoint: issuer.Endpoint(Endpoints.IntrospectionEndpoint.Path),
                IntrospectionEndpointAuthMethodsSupported: ClientCredentials.Methods,
                // RFC 9701 §7.
                IntrospectionSigningAlgValuesSupported: [.. SignatureAlgorithm.Names],
                RevocationEndpoint: issuer.Endpoint(Endpoints.RevocationEndpoint.Path),
                RevocationEndpointAuthMethodsSupported: ClientCredentials.Methods,
                // No registered name: the list is ours.
                RevokedTokensUri: RevokedTokensList.AddressAt(issuer)),
            MetadataJson.Default.Metadata),
        "application/json",
        MaxAge);

    public static string PathFor(Issuer issuer) => "/.well-known/oauth-authorization-server" + issuer.Path;

    public static string OpenIdPathFor(Issuer issuer) => issuer.Path + "/.well-known/openid-configuration";

    public Task AnswerAsync(HttpContext http) => document.AnswerAsync(http);
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(Metadata))]
internal sealed partial class MetadataJson : JsonSerializerContext;
