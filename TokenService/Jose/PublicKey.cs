using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Json.Serialization;
using Microsoft.IdentityModel.Tokens;

namespace TokenService.Jose;

/// <summary>The public half of a key pair. It verifies signatures of one algorithm only (RFC 8725 §3.1).</summary>
internal sealed class PublicKey
{
    private readonly SignatureAlgorithm algorithm;
    private readonly AsymmetricAlgorithm pair;

    /// <param name="algorithm">The one algorithm of the key.</param>
    /// <param name="pair">
    /// A key pair of the algorithm's kind. Many threads may use it at once; OpenSSL allows that.
    /// </param>
    public PublicKey(SignatureAlgorithm algorithm, AsymmetricAlgorithm pair)
    {
        (this.algorithm, this.pair) = (algorithm, pair);
        var jwk = algorithm.ToPublicJwk(pair);
        Kid = Base64UrlEncoder.Encode(jwk.ComputeJwkThumbprint());
        Jwk = Write(jwk);
    }

    /// <summary>The JWK thumbprint (RFC 7638). It follows from the key, so two keys never share a kid.</summary>
    public string Kid { get; }

    /// <summary>The value of <c>alg</c>.</summary>
    public string Algorithm => algorithm.Name;

    /// <summary>The JWK as the JWKS has it: RFC 7517 §4 with the members of RFC 7518 §6, sorted by name.</summary>
    public JsonElement Jwk { get; }

    /// <summary>True when this key made the signature over the data.</summary>
    public bool Verifies(ReadOnlySpan<byte> data, ReadOnlySpan<byte> signature) => algorithm.Verifies(pair, data, signature);

    private JsonElement Write(JsonWebKey jwk)
    {
        var members = new SortedDictionary<string, string>(StringComparer.Ordinal)
        {
            ["alg"] = Algorithm,
            ["kid"] = Kid,
            ["kty"] = jwk.Kty,
            ["use"] = JsonWebKeyUseNames.Sig,
        };
        // The public members are copied by name, so that a private member cannot be published by accident.
        foreach (var (member, value) in new[] { ("crv", jwk.Crv), ("x", jwk.X), ("y", jwk.Y), ("n", jwk.N), ("e", jwk.E) })
        {
            if (value is not null)
                members[member] = value;
        }

        return JsonSerializer.SerializeToElement(members, JwkJson.Default.SortedDictionaryStringString);
    }
}

/// <summary>Generated at build time, so that no code is made by reflection at run time.</summary>
[JsonSerializable(typeof(SortedDictionary<string, string>))]
internal sealed partial class JwkJson : JsonSerializerContext;
