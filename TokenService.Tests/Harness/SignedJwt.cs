using System.Buffers.Text;
using System.Text;
using System.Text.Json.Nodes;

namespace TokenService.Tests.Harness;

/// <summary>A JWT that a caller signs: a valid assertion or DPoP proof, which a test spoils in one place.</summary>
internal sealed class SignedJwt
{
    private readonly TestKey key;
    private readonly JsonObject header;
    private readonly JsonObject claims;
    private string? rawHeader;
    private string? rawClaims;

    private SignedJwt(TestKey key, JsonObject header, JsonObject claims) => (this.key, this.header, this.claims) = (key, header, claims);

    /// <summary>
    /// A client assertion as the FAPI conformance suite sends it: iat and nbf now, exp a minute later, no typ.
    /// </summary>
    public static SignedJwt Assertion(TestServer server, string clientId, TestKey key, string? kid = "k1") =>
        Assertion(server.Clock.GetUtcNow(), TestServer.Issuer, clientId, key, kid);

    public static SignedJwt Assertion(DateTimeOffset now, string audience, string clientId, TestKey key, string? kid = "k1")
    {
        var header = new JsonObject { ["alg"] = key.Algorithm };
        if (kid is not null)
            header["kid"] = kid;
        return new SignedJwt(key, header, new JsonObject
        {
            ["iss"] = clientId,
            ["sub"] = clientId,
            ["aud"] = audience,
            ["jti"] = $"{Guid.NewGuid():N}",
            ["iat"] = now.ToUnixTimeSeconds(),
            ["nbf"] = now.ToUnixTimeSeconds(),
            ["exp"] = now.ToUnixTimeSeconds() + 60,
        });
    }

    /// <summary>A DPoP proof for a token request.</summary>
    public static SignedJwt Proof(TestServer server, TestKey key) =>
        Proof(server.Clock.GetUtcNow(), $"{TestServer.Issuer}/token", key);

    public static SignedJwt Proof(DateTimeOffset now, string url, TestKey key, string method = "POST") => new(
        key,
        new JsonObject { ["typ"] = "dpop+jwt", ["alg"] = key.Algorithm, ["jwk"] = key.Jwk.DeepClone() },
        new JsonObject
        {
            ["jti"] = $"{Guid.NewGuid():N}",
            ["htm"] = method,
            ["htu"] = url,
            ["iat"] = now.ToUnixTimeSeconds(),
        });

    public SignedJwt WithHeader(string name, JsonNode? value)
    {
        header[name] = value;
        return this;
    }

    public SignedJwt WithoutHeader(string name)
    {
        header.Remove(name);
        return this;
    }

    public SignedJwt WithClaim(string name, JsonNode? value)
    {
        claims[name] = value;
        return this;
    }

    public SignedJwt WithoutClaim(string name)
    {
        claims.Remove(name);
        return this;
    }

    /// <summary>Replaces the header by this text, which need not be JSON.</summary>
    public SignedJwt WithRawHeader(string json)
    {
        rawHeader = json;
        return this;
    }

    /// <summary>Replaces the payload by this text, which need not be JSON.</summary>
    public SignedJwt WithRawClaims(string json)
    {
        rawClaims = json;
        return this;
    }

    /// <summary>The header as JSON, to be spoiled as text.</summary>
    public string Header => header.ToJsonString();

    /// <summary>The payload as JSON, to be spoiled as text.</summary>
    public string Claims => claims.ToJsonString();

    /// <summary>The JWT in its compact form, signed.</summary>
    public string Signed() => SignedBy(key);

    /// <summary>The same, signed by another key.</summary>
    public string SignedBy(TestKey other) => WithSignature(other.Sign);

    public string WithSignature(Func<string, byte[]> sign)
    {
        var input = $"{Encode(rawHeader ?? Header)}.{Encode(rawClaims ?? Claims)}";
        return $"{input}.{Base64Url.EncodeToString(sign(input))}";
    }

    private static string Encode(string json) => Base64Url.EncodeToString(Encoding.UTF8.GetBytes(json));
}
