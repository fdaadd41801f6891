using System.Security.Cryptography;
using System.Text.Json;
using Microsoft.IdentityModel.Tokens;

namespace TokenService.Keys;

/// <summary>A key that signs tokens, and the absolute dates of its life: published, signs, published only, gone.</summary>
internal sealed record SigningKey
{
    /// <summary>The JWK thumbprint (RFC 7638): the same for the same key, so never used for two.</summary>
    public required string Kid { get; init; }

    /// <summary>The one algorithm it signs with (RFC 8725 §3.1).</summary>
    public required string Algorithm { get; init; }

    /// <summary>The public half, as the JWKS shows it.</summary>
    public required JsonElement PublicJwk { get; init; }

    /// <summary>What a token handler signs with.</summary>
    public required SigningCredentials Credentials { get; init; }

    /// <summary>In the JWKS from this instant.</summary>
    public required DateTimeOffset PublishedAt { get; init; }

    /// <summary>Signs from this instant.</summary>
    public required DateTimeOffset SignsFrom { get; init; }

    /// <summary>Signs no more at and after this instant; null: no end is set.</summary>
    public DateTimeOffset? SignsUntil { get; init; }

    /// <summary>Out of the JWKS at and after this instant; null: no end is set.</summary>
    public DateTimeOffset? GoneAfter { get; init; }

    public bool SignsAt(DateTimeOffset now) => SignsFrom <= now && !(SignsUntil <= now);

    public bool IsPublishedAt(DateTimeOffset now) => PublishedAt <= now && !(GoneAfter <= now);
}

/// <summary>The key pair of a <see cref="SigningKey"/>: made, written as PKCS #8 and JWK, read back. ES256 (RFC 7518 §3.4).</summary>
internal static class EcKeyPair
{
    public const string Algorithm = SecurityAlgorithms.EcdsaSha256;

    public static ECDsa Create() => ECDsa.Create(ECCurve.NamedCurves.nistP256);

    /// <exception cref="CryptographicException">The bytes are not a PKCS #8 key of an elliptic curve.</exception>
    public static ECDsa Read(ReadOnlySpan<byte> pkcs8)
    {
        var pair = ECDsa.Create();
        pair.ImportPkcs8PrivateKey(pkcs8, out _);
        return pair;
    }

    /// <summary>The public JWK: RFC 7517 §4 with the members of RFC 7518 §6.2.1. No private member is ever at hand here.</summary>
    public static JsonElement PublicJwk(ECDsa pair)
    {
        var point = pair.ExportParameters(includePrivateParameters: false).Q;
        var jwk = new JsonWebKey
        {
            Kty = JsonWebAlgorithmsKeyTypes.EllipticCurve,
            Crv = JsonWebKeyECTypes.P256,
            X = Base64UrlEncoder.Encode(point.X),
            Y = Base64UrlEncoder.Encode(point.Y),
        };
        return JsonSerializer.SerializeToElement(new Dictionary<string, string>
        {
            ["kty"] = jwk.Kty,
            ["use"] = JsonWebKeyUseNames.Sig,
            ["alg"] = Algorithm,
            ["kid"] = Base64UrlEncoder.Encode(jwk.ComputeJwkThumbprint()),
            ["crv"] = jwk.Crv,
            ["x"] = jwk.X,
            ["y"] = jwk.Y,
        });
    }
}
