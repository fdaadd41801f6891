using System.Buffers.Text;
using System.Security.Cryptography;
using Microsoft.Extensions.Options;
using Microsoft.IdentityModel.JsonWebTokens;
using Microsoft.IdentityModel.Tokens;
using TokenService.Clients;
using TokenService.Keys;
using TokenService.Protocol;

namespace TokenService.Tokens;

/// <summary>A token handed out.</summary>
/// <param name="Jwt">The token. Never logged.</param>
/// <param name="Id">Its jti, by which logs and revocation know it.</param>
/// <param name="KeyId">The kid that signed it.</param>
/// <param name="Lifetime">exp minus iat; whole seconds.</param>
internal sealed record AccessToken(string Jwt, string Id, string KeyId, TimeSpan Lifetime)
{
    // A record's own ToString would print the token into any log that is handed one of these.
    public override string ToString() => Id;
}

/// <summary>Makes JWT access tokens, RFC 9068, with the key that signs now.</summary>
internal sealed class TokenIssuer(Issuer issuer, SigningKeys keys, IOptions<TokenOptions> options, TimeProvider clock)
{
    private const string Type = "at+jwt"; // RFC 9068 §2.1
    private const int IdLength = 16; // 128 random bits: unique for the life of the issuer

    private readonly JsonWebTokenHandler handler = new() { SetDefaultTimesOnTokenCreation = false };

    /// <summary>Refused with 503 while there is no key to sign with.</summary>
    public async ValueTask<Result<AccessToken>> IssueAsync(Client client, Entitlement entitlement, CancellationToken ct)
    {
        var lifetime = client.TokenLifetime ?? options.Value.Lifetime;
        if ((await keys.SignerAsync(entitlement.SigningAlgorithm, lifetime, ct)).Refused(out var error, out var signer))
            return error;

        var now = DateTimeOffset.FromUnixTimeSeconds(clock.GetUtcNow().ToUnixTimeSeconds());
        var id = NewId();

        // First, so that none can take the place of one of ours.
        var claims = new Dictionary<string, object>(client.ExtraClaims.Count + 4, StringComparer.Ordinal);
        foreach (var (name, value) in client.ExtraClaims)
            claims[name] = value;
        claims[JwtRegisteredClaimNames.Sub] = client.Id;
        claims["client_id"] = client.Id;
        claims[JwtRegisteredClaimNames.Jti] = id;
        claims["scope"] = entitlement.Scope.ToString();

        var jwt = handler.CreateToken(new SecurityTokenDescriptor
        {
            TokenType = Type,
            SigningCredentials = signer.Credentials,
            Issuer = issuer.Value,
            Audience = entitlement.Audience,
            IssuedAt = now.UtcDateTime,
            Expires = (now + lifetime).UtcDateTime,
            Claims = claims,
        });
        return new AccessToken(jwt, id, signer.Kid, lifetime);
    }

    private static string NewId()
    {
        Span<byte> random = stackalloc byte[IdLength];
        RandomNumberGenerator.Fill(random);
        return Base64Url.EncodeToString(random);
    }
}
