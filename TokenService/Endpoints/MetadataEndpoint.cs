using System.Text.Json;
using System.Text.Json.Serialization;
using Microsoft.Extensions.Options;
using TokenService.Authentication;
using TokenService.Configuration;
using TokenService.Jose;
using TokenService.Keys;
using TokenService.Limits;
using TokenService.Proofs;
using TokenService.Protocol;
using TokenService.Revocation;

namespace TokenService.Endpoints;

/// <summary>
/// Authorization server metadata, RFC 8414 §2. It advertises only features that this server has. A member that is null
/// is left out.
/// </summary>
internal sealed record Metadata(
    string Issuer,
    string? AuthorizationEndpoint,
    string TokenEndpoint,
    string JwksUri,
    IReadOnlyList<string> GrantTypesSupported,
    IReadOnlyList<string> ResponseTypesSupported,
    IReadOnlyList<string> TokenEndpointAuthMethodsSupported,
    IReadOnlyList<string> TokenEndpointAuthSigningAlgValuesSupported,
    string IntrospectionEndpoint,
    IReadOnlyList<string> IntrospectionEndpointAuthMethodsSupported,
    IReadOnlyList<string> IntrospectionEndpointAuthSigningAlgValuesSupported,
    IReadOnlyList<string> IntrospectionSigningAlgValuesSupported,
    string RevocationEndpoint,
    IReadOnlyList<string> RevocationEndpointAuthMethodsSupported,
    IReadOnlyList<string> RevocationEndpointAuthSigningAlgValuesSupported,
    IReadOnlyList<string> DpopSigningAlgValuesSupported,
    string? RevokedTokensUri)
{
    /// <summary>OpenID Connect Discovery §3.</summary>
    public IReadOnlyList<string>? SubjectTypesSupported { get; init; }

    /// <summary>
    /// OpenID Connect Discovery §3. Nobody gets an ID token here, but verifiers such as go-oidc take from this member the
    /// algorithms of any token, and without it verify RS256 only.
    /// </summary>
    public IReadOnlyList<string>? IdTokenSigningAlgValuesSupported { get; init; }
}

/// <summary>
/// Serves the metadata at two paths: the one of RFC 8414 §3, between the issuer's host and path, and the one of OpenID
/// Connect Discovery §4, after the issuer's path. Verifiers that know only the second one insist on members that OpenID
/// Connect Discovery §3 requires; they are there and not in the first.
/// </summary>
internal sealed class MetadataEndpoint(
    Issuer issuer,
    SigningKeys keys,
    AssertionAuthentication assertions,
    DpopProofs proofs,
    ServerProfile profile,
    IOptions<MetadataOptions> options,
    DocumentThrottle throttle)
{
    // The first document changes only with the settings. An algorithm is in the second one for at least 12 minutes before
    // it signs (KeyPlan.PublicationTime).
    private static readonly TimeSpan MaxAge = TimeSpan.FromMinutes(5);

    private readonly CacheableDocument document = new(
        Serialize(MetadataOf(issuer, assertions, proofs, profile, options.Value)), "application/json", MaxAge, throttle);

    // Replaced when the algorithms change. If two requests replace it at the same time, both make the same document.
    private volatile Published? published;

    public static string PathFor(Issuer issuer) => "/.well-known/oauth-authorization-server" + issuer.Path;

    public static string OpenIdPathFor(Issuer issuer) => issuer.Path + "/.well-known/openid-configuration";

    public Task AnswerAsync(HttpContext http) => document.AnswerAsync(http);

    public Task AnswerOpenIdAsync(HttpContext http)
    {
        var algorithms = keys.Algorithms;
        if (published is not { } current || !ReferenceEquals(current.Algorithms, algorithms))
        {
            var metadata = MetadataOf(issuer, assertions, proofs, profile, options.Value) with
            {
                SubjectTypesSupported = ["public"],
                IdTokenSigningAlgValuesSupported = [.. algorithms.Where(profile.AllowsAlgorithm)],
            };
            var made = new CacheableDocument(Serialize(metadata), "application/json", MaxAge, throttle);
            published = current = new Published(algorithms, made);
        }

        return current.Document.AnswerAsync(http);
    }

    private static Metadata MetadataOf(
        Issuer issuer, AssertionAuthentication assertions, DpopProofs proofs, ServerProfile profile, MetadataOptions options) => new(
        Issuer: issuer.Value,
        AuthorizationEndpoint:
            options.AdvertiseAuthorizationEndpoint ? issuer.Endpoint(Endpoints.AuthorizationEndpoint.Path) : null,
        TokenEndpoint: issuer.Endpoint(Endpoints.TokenEndpoint.Path),
        JwksUri: issuer.Endpoint(JwksEndpoint.Path),
        // RFC 8414 §2: without this member, a client would assume the authorization code and implicit grants.
        GrantTypesSupported: ["client_credentials"],
        // RFC 8414 §2 requires this member. It is empty because no authorization endpoint grants anything.
        ResponseTypesSupported: [],
        TokenEndpointAuthMethodsSupported: ClientCredentials.Methods(profile),
        TokenEndpointAuthSigningAlgValuesSupported: assertions.Algorithms,
        IntrospectionEndpoint: issuer.Endpoint(Endpoints.IntrospectionEndpoint.Path),
        IntrospectionEndpointAuthMethodsSupported: ClientCredentials.Methods(profile),
        IntrospectionEndpointAuthSigningAlgValuesSupported: assertions.Algorithms,
        // RFC 9701 §7.
        IntrospectionSigningAlgValuesSupported: [.. SignatureAlgorithm.Names.Where(profile.AllowsAlgorithm)],
        RevocationEndpoint: issuer.Endpoint(Endpoints.RevocationEndpoint.Path),
        RevocationEndpointAuthMethodsSupported: ClientCredentials.Methods(profile),
        RevocationEndpointAuthSigningAlgValuesSupported: assertions.Algorithms,
        // RFC 9449 §5.1.
        DpopSigningAlgValuesSupported: proofs.Algorithms,
        // The name of this member is not registered, because the list is an extension of this server.
        RevokedTokensUri: options.OmitUnregistered ? null : RevokedTokensList.AddressAt(issuer));

    private static byte[] Serialize(Metadata metadata) =>
        JsonSerializer.SerializeToUtf8Bytes(metadata, MetadataJson.Default.Metadata);

    private sealed record Published(IReadOnlyList<string> Algorithms, CacheableDocument Document);
}

[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower,
    DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(Metadata))]
internal sealed partial class MetadataJson : JsonSerializerContext;
