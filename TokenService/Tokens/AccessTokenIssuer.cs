using System.Collections.Frozen;
using System.Text.Json;
using Microsoft.Extensions.Options;
using TokenService.Clients;
using TokenService.Configuration;
using TokenService.Jose;
using TokenService.Keys;
using TokenService.Protocol;

namespace TokenService.Tokens;

/// <summary>A token that was issued.</summary>
/// <param name="Jwt">The token, in ASCII. Never logged.</param>
/// <param name="Id">Its jti, which the event log and revocation use.</param>
/// <param name="KeyId">The kid of the key that signed it.</param>
/// <param name="Lifetime">exp minus iat; whole seconds.</param>
internal sealed record AccessToken(byte[] Jwt, string Id, string KeyId, TimeSpan Lifetime);

/// <summary>A token that can be signed: nothing can refuse it any more.</summary>
internal readonly record struct PreparedToken(Client Client, ScopeGrant Grant, Signer Signer, TimeSpan Lifetime);

/// <summary>Makes JWT access tokens, RFC 9068, with the key that signs now.</summary>
internal sealed class AccessTokenIssuer(
    Issuer issuer, SigningKeys keys, ServerProfile profile, IOptions<TokenOptions> options, TimeProvider clock)
{
    /// <summary>RFC 9068 §2.1.</summary>
    public const string Type = "at+jwt";

    /// <summary>The type of any JWT (RFC 7519 §5.1), for resources that refuse <see cref="Type"/>.</summary>
    public const string PlainType = "JWT";

    private const int IdLength = 16; // 128 random bits: unique for the life of the issuer

    private static readonly FrozenSet<string> OwnClaims = FrozenSet.Create(
        StringComparer.OrdinalIgnoreCase, "iss", "sub", "client_id", "aud", "scope", "iat", "exp", "jti", "cnf");

    private readonly JwsWriter writer = new(Type);
    private readonly JwsWriter plainWriter = new(PlainType);

    /// <summary>
    /// Finds the key that signs. Refused with 503 while there is no key to sign with, and while all tokens that the client
    /// gets now would be revoked ones.
    /// </summary>
    public async ValueTask<Result<PreparedToken>> PrepareAsync(Client client, ScopeGrant grant, CancellationToken ct)
    {
        var resource = grant.Resource;
        if (!profile.AllowsPlainTokenType && resource.TokenType == PlainType)
            return OutsideProfile("typ");
        if (resource.SigningAlgorithm is { } algorithm && !profile.AllowsAlgorithm(algorithm))
            return OutsideProfile("signing_alg");

        var lifetime = LifetimeOf(client, resource);
        if (!(await keys.SignerAsync(resource.SigningAlgorithm, lifetime, ct)).TryGet(out var signer, out var error))
            return error;

        // iat has whole seconds, so a token of the second in which the revocation ends would be revoked too.
        var now = clock.GetUtcNow().ToUnixTimeSeconds();
        if (client.TokensNotBefore?.ToUnixTimeSeconds() is { } revokedUntil && revokedUntil >= now)
        {
            var wait = TimeSpan.FromSeconds(revokedUntil - now + 1);
            return OAuthError.TemporarilyUnavailable(Reason.TokensRevokedForNow, wait);
        }

        return new PreparedToken(client, grant, signer, lifetime);
    }

    /// <summary>Signs a token.</summary>
    /// <param name="token">The token that was prepared a moment ago.</param>
    /// <param name="confirmation">The key that the token is bound to.</param>
    public AccessToken Issue(PreparedToken token, Confirmation confirmation)
    {
        var now = clock.GetUtcNow().ToUnixTimeSeconds();
        var claims = new Claims(
            issuer, token.Client, token.Grant, now, now + (long)token.Lifetime.TotalSeconds, JwtIds.Next(IdLength), confirmation);
        var jwt = WriterFor(token.Grant.Resource).Write(token.Signer, claims, Write);
        return new AccessToken(jwt, claims.Id, token.Signer.PublicKey.Kid, token.Lifetime);
    }

    private static OAuthError OutsideProfile(string column) => OAuthError.InvalidTarget(
        Reason.ResourceOutsideProfile, $"Tokens for this resource have a {column} that the profile of this server rules out.");

    private JwsWriter WriterFor(Resource resource) => resource.TokenType switch
    {
        Type => writer,
        PlainType => plainWriter,
        // The constraint resource_typ_known refuses anything else.
        _ => throw new InvalidOperationException($"The typ of resource {resource.Id} is not one the database should accept."),
    };

    private TimeSpan LifetimeOf(Client client, Resource resource)
    {
        var wanted = client.TokenLifetime ?? options.Value.Lifetime;
        return resource.MaxTokenLifetime < wanted ? resource.MaxTokenLifetime.Value : wanted;
    }

    // RFC 9068 §2.2, and RFC 9449 §6.1 for cnf.
    private static void Write(Claims claims, Utf8JsonWriter json)
    {
        json.WriteStartObject();
        json.WriteString("iss"u8, claims.Issuer.Value);
        json.WriteString("sub"u8, claims.Client.Id);
        json.WriteString("client_id"u8, claims.Client.Id);
        json.WriteString("aud"u8, claims.Grant.Resource.Id);
        json.WriteString("scope"u8, claims.Grant.Scope.ToString());
        json.WriteNumber("iat"u8, claims.IssuedAt);
        json.WriteNumber("exp"u8, claims.Expires);
        json.WriteString("jti"u8, claims.Id);
        if (claims.Confirmation.KeyThumbprint is { } thumbprint)
        {
            json.WriteStartObject("cnf"u8);
            json.WriteString("jkt"u8, thumbprint);
            json.WriteEndObject();
        }

        // The database refuses extra claims with these names. If one is there in spite of that, the standard claim
        // wins.
        foreach (var (name, value) in claims.Client.ExtraClaims)
        {
            if (!OwnClaims.Contains(name))
            {
                json.WritePropertyName(name);
                value.WriteTo(json);
            }
        }

        json.WriteEndObject();
    }

    /// <param name="IssuedAt">Seconds since 1970 (RFC 7519 §2, NumericDate).</param>
    /// <param name="Expires">Seconds since 1970.</param>
    private readonly record struct Claims(
        Issuer Issuer, Client Client, ScopeGrant Grant, long IssuedAt, long Expires, string Id, Confirmation Confirmation);
}
