using System.Buffers.Text;
using System.Diagnostics.CodeAnalysis;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;

namespace Examples;

/// <summary>
/// The public key in a DPoP proof (RFC 9449 §4.2). A stranger chose it, so its size, its members and their spelling are
/// checked before any of it is imported.
/// </summary>
internal sealed class DpopKey : IDisposable
{
    /// <summary>
    /// The algorithms that can be accepted. RS256 is not among them: RFC 7518 has it for compatibility only, and FAPI
    /// 2.0 forbids it.
    /// </summary>
    public static readonly string[] Algorithms = ["ES256", "ES384", "PS256"];

    // RFC 9449 §4.3: the key must not have a private half. RFC 7518 §6.2.2, §6.3.2 and §6.4.1 name its members.
    private static readonly string[] PrivateMembers = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

    private readonly AsymmetricAlgorithm key;

    private DpopKey(AsymmetricAlgorithm key, string canonicalJson)
    {
        this.key = key;
        Thumbprint = Base64Url.EncodeToString(SHA256.HashData(Encoding.UTF8.GetBytes(canonicalJson)));
    }

    /// <summary>
    /// The JWK thumbprint (RFC 7638), 43 characters. A token that is bound to this key has it as cnf.jkt.
    /// </summary>
    public string Thumbprint { get; }

    /// <param name="jwk">
    /// The JWK, of any JSON type. Members that this class does not know, such as kid, are ignored.
    /// </param>
    /// <param name="algorithm">One of <see cref="Algorithms"/>. The key must be of its kty and crv.</param>
    /// <returns>Null: this is no acceptable public key for the algorithm.</returns>
    public static DpopKey? Read(JsonElement jwk, string algorithm)
    {
        if (jwk.ValueKind != JsonValueKind.Object || PrivateMembers.Any(member => jwk.TryGetProperty(member, out _)))
            return null;
        try
        {
            return algorithm switch
            {
                "ES256" => ReadEllipticCurve(jwk, "P-256", ECCurve.NamedCurves.nistP256, 32),
                "ES384" => ReadEllipticCurve(jwk, "P-384", ECCurve.NamedCurves.nistP384, 48),
                "PS256" => ReadRsa(jwk),
                _ => null,
            };
        }
        catch (CryptographicException)
        {
            return null; // a point that is not on the curve, for example
        }
    }

    /// <summary>True when this key made the signature over the data.</summary>
    public bool Verifies(ReadOnlySpan<byte> data, ReadOnlySpan<byte> signature) => key switch
    {
        ECDsa { KeySize: 256 } curve => curve.VerifyData(data, signature, HashAlgorithmName.SHA256),
        ECDsa { KeySize: 384 } curve => curve.VerifyData(data, signature, HashAlgorithmName.SHA384),
        RSA rsa => rsa.VerifyData(data, signature, HashAlgorithmName.SHA256, RSASignaturePadding.Pss),
        _ => false,
    };

    public void Dispose() => key.Dispose();

    // RFC 7518 §6.2.1.2: a coordinate has its full length, leading zeros included.
    private static DpopKey? ReadEllipticCurve(JsonElement jwk, string name, ECCurve curve, int length)
    {
        if (DpopProof.Text(jwk, "kty") != "EC" || DpopProof.Text(jwk, "crv") != name
            || !TryReadBytes(jwk, "x", out var x, out var encodedX) || x.Length != length
            || !TryReadBytes(jwk, "y", out var y, out var encodedY) || y.Length != length)
            return null;
        var key = ECDsa.Create(new ECParameters { Curve = curve, Q = new ECPoint { X = x, Y = y } });
        return new DpopKey(key, $$"""{"crv":"{{name}}","kty":"EC","x":"{{encodedX}}","y":"{{encodedY}}"}""");
    }

    private static DpopKey? ReadRsa(JsonElement jwk)
    {
        if (DpopProof.Text(jwk, "kty") != "RSA"
            || !TryReadBytes(jwk, "n", out var n, out var encodedN) || !IsModulus(n)
            || !TryReadBytes(jwk, "e", out var e, out var encodedE) || !IsExponent(e))
            return null;
        var key = RSA.Create(new RSAParameters { Modulus = n, Exponent = e });
        return new DpopKey(key, $$"""{"e":"{{encodedE}}","kty":"RSA","n":"{{encodedN}}"}""");
    }

    // 2048 to 4096 bits. A longer modulus would let a stranger choose how long a verification takes. RFC 7518 §2: the
    // number has no leading zero.
    private static bool IsModulus(byte[] n) => n.Length is >= 256 and <= 512
        && n[0] != 0 && (n.Length > 256 || n[0] >= 0x80) && n[^1] % 2 == 1;

    // Odd, from 3 to 2^32-1, without a leading zero. A longer exponent makes a verification as slow as a signature.
    private static bool IsExponent(byte[] e) => e.Length is >= 1 and <= 4 && e[0] != 0 && e[^1] % 2 == 1 && (e.Length > 1 || e[0] >= 3);

    // The spelling is canonical and has no character that JSON would escape, so it goes into the thumbprint as it is.
    private static bool TryReadBytes(
        JsonElement jwk, string member, [NotNullWhen(true)] out byte[]? bytes, [NotNullWhen(true)] out string? encoded)
    {
        bytes = null;
        encoded = DpopProof.Text(jwk, member);
        return encoded is not null && DpopProof.TryDecode(encoded, out bytes);
    }
}
