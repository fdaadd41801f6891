using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace Examples;

/// <summary>A private key that signs JWTs: the assertions of a client (RFC 7523), or DPoP proofs (RFC 9449).</summary>
public sealed class SigningKey
{
    private readonly Lock gate = new();
    private readonly Func<byte[], byte[]> sign;

    private SigningKey(string algorithm, JsonObject publicJwk, Func<byte[], byte[]> sign, string? keyId)
    {
        (Algorithm, PublicJwk, this.sign) = (algorithm, publicJwk, sign);
        KeyId = keyId ?? Thumbprint(publicJwk);
    }

    /// <summary>ES256, ES384, PS256 or RS256.</summary>
    public string Algorithm { get; }

    /// <summary>The kid under which an admin has added the key.</summary>
    public string KeyId { get; }

    /// <summary>The public half, with the required members only, in the order of RFC 7638 §3.2.</summary>
    public JsonObject PublicJwk { get; }

    /// <summary>Makes a key for ES256.</summary>
    public static SigningKey Create() => Of(ECDsa.Create(ECCurve.NamedCurves.nistP256), keyId: null);

    /// <summary>Reads what <c>TokenService client-key new</c> writes: a private JWK, or PKCS #8 in PEM.</summary>
    /// <param name="text">The content of the file.</param>
    /// <param name="keyId">The kid, which a PEM file lacks; null: that of the JWK, else the thumbprint (RFC 7638).</param>
    /// <param name="algorithm">Of an RSA key in a PEM file; null: PS256.</param>
    /// <exception cref="CryptographicException">The text is no such key.</exception>
    public static SigningKey Read(string text, string? keyId = null, string? algorithm = null)
    {
        if (text.StartsWith('{'))
            return OfJwk(JsonElement.Parse(text), keyId);
        try
        {
            var pair = ECDsa.Create();
            pair.ImportFromPem(text);
            return Of(pair, keyId);
        }
        catch (CryptographicException)
        {
            var pair = RSA.Create();
            pair.ImportFromPem(text);
            return Of(pair, algorithm ?? "PS256", keyId);
        }
    }

    /// <summary>A JWT in compact form (RFC 7515 §7.1). The header gets alg.</summary>
    public string Sign(JsonObject header, JsonObject claims)
    {
        header["alg"] = Algorithm;
        var input = $"{Encode(header)}.{Encode(claims)}";
        lock (gate) // .NET does not promise that several threads may sign at once
            return $"{input}.{Base64Url.EncodeToString(sign(Encoding.ASCII.GetBytes(input)))}";
    }

    /// <summary>A value that no other JWT has, as jti.</summary>
    public static string NewId() => Base64Url.EncodeToString(RandomNumberGenerator.GetBytes(16));

    private static SigningKey OfJwk(JsonElement jwk, string? keyId)
    {
        keyId ??= jwk.TryGetProperty("kid", out var kid) ? kid.GetString() : null;
        if (Text(jwk, "kty") == "EC")
        {
            return Of(
                ECDsa.Create(new ECParameters
                {
                    Curve = Text(jwk, "crv") == "P-256" ? ECCurve.NamedCurves.nistP256 : ECCurve.NamedCurves.nistP384,
                    Q = { X = Number(jwk, "x"), Y = Number(jwk, "y") },
                    D = Number(jwk, "d"),
                }),
                keyId);
        }

        return Of(
            RSA.Create(new RSAParameters
            {
                Modulus = Number(jwk, "n"),
                Exponent = Number(jwk, "e"),
                D = Number(jwk, "d"),
                P = Number(jwk, "p"),
                Q = Number(jwk, "q"),
                DP = Number(jwk, "dp"),
                DQ = Number(jwk, "dq"),
                InverseQ = Number(jwk, "qi"),
            }),
            Text(jwk, "alg"),
            keyId);
    }

    private static SigningKey Of(ECDsa pair, string? keyId)
    {
        var point = pair.ExportParameters(includePrivateParameters: false).Q;
        var isP256 = pair.KeySize == 256;
        var jwk = new JsonObject
        {
            ["crv"] = isP256 ? "P-256" : "P-384",
            ["kty"] = "EC",
            ["x"] = Base64Url.EncodeToString(point.X),
            ["y"] = Base64Url.EncodeToString(point.Y),
        };
        var hash = isP256 ? HashAlgorithmName.SHA256 : HashAlgorithmName.SHA384;
        return new SigningKey(isP256 ? "ES256" : "ES384", jwk, input => pair.SignData(input, hash), keyId);
    }

    private static SigningKey Of(RSA pair, string algorithm, string? keyId)
    {
        var number = pair.ExportParameters(includePrivateParameters: false);
        var jwk = new JsonObject
        {
            ["e"] = Base64Url.EncodeToString(number.Exponent),
            ["kty"] = "RSA",
            ["n"] = Base64Url.EncodeToString(number.Modulus),
        };
        var padding = algorithm == "RS256" ? RSASignaturePadding.Pkcs1 : RSASignaturePadding.Pss;
        return new SigningKey(algorithm, jwk, input => pair.SignData(input, HashAlgorithmName.SHA256, padding), keyId);
    }

    private static string Thumbprint(JsonObject publicJwk) =>
        Base64Url.EncodeToString(SHA256.HashData(Encoding.UTF8.GetBytes(publicJwk.ToJsonString())));

    private static string Text(JsonElement jwk, string name) =>
        jwk.GetProperty(name).GetString() ?? throw new CryptographicException($"The JWK has no {name}.");

    private static byte[] Number(JsonElement jwk, string name) => Base64Url.DecodeFromChars(Text(jwk, name));

    private static string Encode(JsonObject json) => Base64Url.EncodeToString(Encoding.UTF8.GetBytes(json.ToJsonString()));
}
