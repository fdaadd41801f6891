using System.Text.Json;
using System.Text.Json.Serialization;
using TokenService.Authentication;
using TokenService.Jose;
using TokenService.Limits;
using TokenService.Protocol;
using TokenService.Revocation;

namespace TokenService.Endpoints;

/// <summary>Authorization server metadata, RFC 8414 §2. It advertises only features that this server has.</summary>
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
/// Serves the metadata at two paths: the one of RFC 8414 §3, between the issuer's host and path, and the one of OpenID
/// Connect Discovery §4, after the issuer's path, for verifiers that know only that one.
/// </summary>
internal sealed class MetadataEndpoint(Issuer issuer, DocumentThrottle throttle)
{
    // The content changes only with the settings, so any max-age would be correct.
    private static readonly TimeSpan MaxAge = TimeSpan.FromMinutes(5);

    private readonly CacheableDocument document = new(
        JsonSerializer.SerializeToUtf8Bytes(
            new Metadata(
                Issuer: issuer.Value,
                TokenEndpoint: issuer.Endpoint(Endpoints.TokenEndpoint.Path),
                JwksUri: issuer.Endpoint(JwksEndpoint.Path),
                // RFC 8414 §2: without this member, a client would assume the authorization code and implicit grants.
                GrantTypesSupported: ["client_credentials"],
                // RFC 8414 §2 requires this member. It is empty because there is no authorization endpoint.
                ResponseTypesSupported: [],
                TokenEndpointAuthMethodsSupported: ClientCredentials.Methods,
                IntrospectionEndpoint: issuer.Endpoint(Endpoints.IntrospectionEndpoint.Path),
                IntrospectionEndpointAuthMethodsSupported: ClientCredentials.Methods,
                // RFC 9701 §7.
                IntrospectionSigningAlgValuesSupported: [.. SignatureAlgorithm.Names],
                RevocationEndpoint: issuer.Endpoint(Endpoints.RevocationEndpoint.Path),
                RevocationEndpointAuthMethodsSupported: ClientCredentials.Methods,
                // The name of this member is not registered, because the list is an extension of this server.
                RevokedTokensUri: RevokedTokensList.AddressAt(issuer)),
            MetadataJson.Default.Metadata),
        "application/json",
        MaxAge,
        throttle);

    public static string PathFor(Issuer issuer) => "/.well-known/oauth-authorization-server" + issuer.Path;

    public static string OpenIdPathFor(Issuer issuer) => issuer.Path + "/.well-known/openid-configuration";

    public Task AnswerAsync(HttpContext http) => document.AnswerAsync(http);
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(Metadata))]
internal sealed partial class MetadataJson : JsonSerializerContext;
