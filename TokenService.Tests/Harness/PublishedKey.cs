using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;

namespace TokenService.Tests.Harness;

/// <summary>
/// A key as the JWKS shows it. It uses only .NET's own cryptography, so that the server's signing code does not verify
/// itself.
/// </summary>
internal sealed record PublishedKey(JsonElement Jwk)
{
    public string Kid => Member("kid");

    /// <summary>RFC 7638 §3: SHA-256 over the members a key of this kind needs, in lexicographic order, without white space.</summary>
    public string Thumbprint => Base64Url.EncodeToString(SHA256.HashData(Encoding.UTF8.GetBytes(Member("kty") == "EC"
        ? $$"""{"crv":"{{Member("crv")}}","kty":"EC","x":"{{Member("x")}}","y":"{{Member("y")}}"}"""
        : $$"""{"e":"{{Member("e")}}","kty":"RSA","n":"{{Member("n")}}"}""")));

    public static async Task<IReadOnlyList<PublishedKey>> ReadAllAsync(TestServer server)
    {
        var answer = await server.GetAsync("/.well-known/jwks.json");
        return [.. answer.Json.GetProperty("keys").EnumerateArray().Select(jwk => new PublishedKey(jwk))];
    }

    public string Member(string name) => Jwk.GetProperty(name).GetString()!;

    /// <summary>Throws when the point is not on the curve.</summary>
    public ECDsa ToECDsa() => ECDsa.Create(new ECParameters
    {
        Curve = Member("crv") == "P-384" ? ECCurve.NamedCurves.nistP384 : ECCurve.NamedCurves.nistP256,
        Q = { X = Base64Url.DecodeFromChars(Member("x")), Y = Base64Url.DecodeFromChars(Member("y")) },
    });

    public RSA ToRsa() => RSA.Create(new RSAParameters
    {
        Modulus = Base64Url.DecodeFromChars(Member("n")),
        Exponent = Base64Url.DecodeFromChars(Member("e")),
    });

    /// <summary>RFC 7515 §5.2 with the algorithms of RFC 7518 §3.3 to §3.5.</summary>
    public bool Verifies(string jwt)
    {
        var dot = jwt.LastIndexOf('.');
        var (input, signature) = (Encoding.ASCII.GetBytes(jwt[..dot]), Base64Url.DecodeFromChars(jwt.AsSpan(dot + 1)));
        return Member("alg") switch
        {
            "ES256" => VerifiesEcdsa(input, signature, HashAlgorithmName.SHA256),
            "ES384" => VerifiesEcdsa(input, signature, HashAlgorithmName.SHA384),
            "RS256" => VerifiesRsa(input, signature, RSASignaturePadding.Pkcs1),
            "PS256" => VerifiesRsa(input, signature, RSASignaturePadding.Pss),
            _ => false,
        };
    }

    // R and S, each as long as the curve's order, one behind the other.
    private bool VerifiesEcdsa(byte[] input, byte[] signature, HashAlgorithmName hash)
    {
        using var key = ToECDsa();
        return key.VerifyData(input, signature, hash, DSASignatureFormat.IeeeP1363FixedFieldConcatenation);
    }

    private bool VerifiesRsa(byte[] input, byte[] signature, RSASignaturePadding padding)
    {
        using var key = ToRsa();
        return key.VerifyData(input, signature, HashAlgorithmName.SHA256, padding);
    }
}
