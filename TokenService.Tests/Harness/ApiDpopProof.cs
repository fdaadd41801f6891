using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using Microsoft.IdentityModel.Tokens;

namespace TokenService.Tests.Harness;

/// <summary>A key pair of a caller that proves possession to an API.</summary>
/// <param name="Algorithm">The value of alg.</param>
/// <param name="Pair">The key pair.</param>
internal sealed record ApiDpopKey(string Algorithm, AsymmetricAlgorithm Pair) : IDisposable
{
    /// <summary>The JWK thumbprint, as Microsoft.IdentityModel.Tokens computes it.</summary>
    public string Thumbprint => Base64UrlEncoder.Encode(Converted.ComputeJwkThumbprint());

    public JsonObject PublicJwk => Converted switch
    {
        { Kty: "EC" } key => new JsonObject { ["kty"] = key.Kty, ["crv"] = key.Crv, ["x"] = key.X, ["y"] = key.Y },
        var key => new JsonObject { ["kty"] = key.Kty, ["n"] = key.N, ["e"] = key.E },
    };

    /// <summary>The private member d of the JWK.</summary>
    public string PrivateMember => Base64Url.EncodeToString(
        Pair is ECDsa curve ? curve.ExportParameters(true).D : ((RSA)Pair).ExportParameters(true).D);

    private JsonWebKey Converted => Pair is ECDsa curve
        ? JsonWebKeyConverter.ConvertFromECDsaSecurityKey(new ECDsaSecurityKey(curve))
        : JsonWebKeyConverter.ConvertFromRSASecurityKey(new RsaSecurityKey(((RSA)Pair).ExportParameters(false)));

    public static ApiDpopKey Create(string algorithm = "ES256", int rsaKeySize = 2048) => new(algorithm, algorithm switch
    {
        "ES256" => ECDsa.Create(ECCurve.NamedCurves.nistP256),
        "ES384" => ECDsa.Create(ECCurve.NamedCurves.nistP384),
        _ => RSA.Create(rsaKeySize),
    });

    public byte[] Sign(byte[] data) => (Pair, Algorithm) switch
    {
        (ECDsa curve, "ES384") => curve.SignData(data, HashAlgorithmName.SHA384),
        (ECDsa curve, _) => curve.SignData(data, HashAlgorithmName.SHA256),
        (RSA rsa, "RS256") => rsa.SignData(data, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1),
        (RSA rsa, _) => rsa.SignData(data, HashAlgorithmName.SHA256, RSASignaturePadding.Pss),
        _ => throw new InvalidOperationException(),
    };

    public void Dispose() => Pair.Dispose();
}

/// <summary>A valid DPoP proof for a GET of an API (RFC 9449 §4.2), to be spoiled in one place and signed.</summary>
internal sealed class ApiDpopProof
{
    private readonly ApiDpopKey key;
    private readonly JsonObject header;
    private readonly JsonObject payload;
    private string? rawHeader;
    private string? rawPayload;

    public ApiDpopProof(ApiDpopKey key, string url, string token, DateTimeOffset now)
    {
        this.key = key;
        header = new JsonObject { ["typ"] = "dpop+jwt", ["alg"] = key.Algorithm, ["jwk"] = key.PublicJwk };
        payload = new JsonObject
        {
            ["jti"] = Guid.NewGuid().ToString(),
            ["htm"] = "GET",
            ["htu"] = url,
            ["iat"] = now.ToUnixTimeSeconds(),
            ["ath"] = Base64Url.EncodeToString(SHA256.HashData(Encoding.ASCII.GetBytes(token))),
        };
    }

    public JsonObject Jwk => (JsonObject)header["jwk"]!;

    /// <summary>A claim that is text.</summary>
    public string this[string claim] => (string)payload[claim]!;

    public ApiDpopProof With(string claim, JsonNode? value)
    {
        payload[claim] = value;
        return this;
    }

    public ApiDpopProof Without(string claim)
    {
        payload.Remove(claim);
        return this;
    }

    public ApiDpopProof WithHeader(string member, JsonNode? value)
    {
        header[member] = value;
        return this;
    }

    public ApiDpopProof WithoutHeader(string member)
    {
        header.Remove(member);
        return this;
    }

    /// <summary>Sets a member of the JWK in the header.</summary>
    public ApiDpopProof WithJwk(string member, JsonNode? value)
    {
        Jwk[member] = value;
        return this;
    }

    /// <summary>Adds this text behind the members of the header, even if one of that name is there.</summary>
    public ApiDpopProof WithHeaderAfter(string json)
    {
        rawHeader = header.ToJsonString()[..^1] + "," + json + "}";
        return this;
    }

    /// <summary>Adds this text behind the claims, even if one of that name is there.</summary>
    public ApiDpopProof WithClaimAfter(string json)
    {
        rawPayload = payload.ToJsonString()[..^1] + "," + json + "}";
        return this;
    }

    public string Signed() => SignedBy(key.Sign);

    public string SignedBy(Func<byte[], byte[]> sign)
    {
        var input = $"{Encode(rawHeader ?? header.ToJsonString())}.{Encode(rawPayload ?? payload.ToJsonString())}";
        return $"{input}.{Base64Url.EncodeToString(sign(Encoding.ASCII.GetBytes(input)))}";
    }

    private static string Encode(string json) => Base64Url.EncodeToString(Encoding.UTF8.GetBytes(json));
}
