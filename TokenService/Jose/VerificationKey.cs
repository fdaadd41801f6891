using System.Security.Cryptography;

namespace TokenService.Jose;

/// <summary>
/// The public key of somebody else, ready to verify signatures of one algorithm (RFC 8725 §3.1). Making one costs about as
/// much as a verification. Many threads may use it at once; OpenSSL and libsodium allow that.
/// </summary>
internal abstract class VerificationKey : IDisposable
{
    /// <summary>The algorithm of an Ed25519 key (RFC 9864 §2.2).</summary>
    public const string Ed25519 = "Ed25519";

    /// <summary>The older name of the same algorithm, which also means others (RFC 8037 §3.1).</summary>
    public const string EdDsa = "EdDSA";

    private VerificationKey()
    {
    }

    /// <summary>All algorithms that this machine can verify. Ed25519 needs libsodium.</summary>
    public static IReadOnlyList<string> Algorithms { get; } =
        [.. SignatureAlgorithm.Names, .. Libsodium.IsAvailable ? [Ed25519, EdDsa] : Array.Empty<string>()];

    /// <summary>True when the key made the signature over the data.</summary>
    public abstract bool Verifies(ReadOnlySpan<byte> data, ReadOnlySpan<byte> signature);

    public abstract void Dispose();

    /// <summary>
    /// The key; null: the algorithm is not for such a key or unknown here, or the point is not on its curve.
    /// </summary>
    /// <param name="jwk">The key.</param>
    /// <param name="algorithm">The value of <c>alg</c>, compared with case.</param>
    public static VerificationKey? Create(PublicJwk jwk, string algorithm)
    {
        try
        {
            return (algorithm, jwk) switch
            {
                ("ES256", PublicJwk.EllipticCurve { Curve: "P-256" } key) => new Pair(algorithm, ToPair(key, ECCurve.NamedCurves.nistP256)),
                ("ES384", PublicJwk.EllipticCurve { Curve: "P-384" } key) => new Pair(algorithm, ToPair(key, ECCurve.NamedCurves.nistP384)),
                ("PS256" or "RS256", PublicJwk.Rsa key) =>
                    new Pair(algorithm, RSA.Create(new RSAParameters { Modulus = key.Modulus, Exponent = key.Exponent })),
                (Ed25519 or EdDsa, PublicJwk.Ed25519 key) when Libsodium.IsAvailable => new EdwardsPoint(key.X),
                _ => null,
            };
        }
        catch (CryptographicException)
        {
            return null;
        }
    }

    private static ECDsa ToPair(PublicJwk.EllipticCurve key, ECCurve curve) =>
        ECDsa.Create(new ECParameters { Curve = curve, Q = new ECPoint { X = key.X, Y = key.Y } });

    private sealed class Pair(string algorithm, AsymmetricAlgorithm pair) : VerificationKey
    {
        private readonly SignatureAlgorithm signatures = SignatureAlgorithm.Of(algorithm);

        public override bool Verifies(ReadOnlySpan<byte> data, ReadOnlySpan<byte> signature) => signatures.Verifies(pair, data, signature);

        public override void Dispose() => pair.Dispose();
    }

    private sealed class EdwardsPoint(byte[] key) : VerificationKey
    {
        public override bool Verifies(ReadOnlySpan<byte> data, ReadOnlySpan<byte> signature) =>
            Libsodium.VerifiesEd25519(data, signature, key);

        public override void Dispose()
        {
        }
    }
}
