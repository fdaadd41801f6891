using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;

namespace TokenService.Tests.Harness;

/// <summary>
/// A key as the JWKS shows it. Does all by .NET's own cryptography, so that nothing the server signs with vouches for itself.
/// </summary>
internal sealed record PublishedKey(JsonElement Jwk)
{
    public string Kid => Member("kid");

    /// <summary>RFC 7638 §3: SHA-256 over the members a key of this kind needs, in lexicographic order, without white space.</summary>
    public string Thumbprint => Base64Url.EncodeToString(SHA256.HashData(Encoding.UTF8.GetBytes(
        $$"""{"crv":"{{Member("crv")}}","kty":"{{Member("kty")}}","x":"{{Member("x")}}","y":"{{Member("y")}}"}""")));

    public static async Task<IReadOnlyList<PublishedKey>> ReadAllAsync(TestServer server)
    {
        var answer = await server.GetAsync("/.well-known/jwks.json");
        return [.. answer.Json.GetProperty("keys").EnumerateArray().Select(jwk => new PublishedKey(jwk))];
    }

    public string Member(string name) => Jwk.GetProperty(name).GetString()!;

    /// <summary>Throws when the point is not on the curve.</summary>
    public ECDsa ToECDsa() => ECDsa.Create(new ECParameters
    {
        Curve = ECCurve.NamedCurves.nistP256,
        Q = { X = Base64Url.DecodeFromChars(Member("x")), Y = Base64Url.DecodeFromChars(Member("y")) },
    });

    /// <summary>RFC 7515 §5.2 with RFC 7518 §3.4: R and S, each of 32 bytes, one behind the other.</summary>
    public bool Verifies(string jwt)
    {
        var dot = jwt.LastIndexOf('.');
        var signature = Base64Url.DecodeFromChars(jwt.AsSpan(dot + 1));
        using var key = ToECDsa();
        return key.VerifyData(
            Encoding.ASCII.GetBytes(jwt[..dot]), signature, HashAlgorithmName.SHA256, DSASignatureFormat.IeeeP1363FixedFieldConcatenation);
    }
}
