using System.Security.Cryptography;

namespace TokenService.Jose;

/// <summary>A key pair to sign with. Many threads may sign at once; OpenSSL allows that.</summary>
/// <param name="algorithm">The one algorithm it signs with (RFC 8725 §3.1).</param>
/// <param name="pair">A key pair of the algorithm's kind.</param>
internal sealed class Signer(SignatureAlgorithm algorithm, AsymmetricAlgorithm pair)
{
    /// <summary>The key that verifies its signatures.</summary>
    public PublicKey PublicKey { get; } = new(algorithm, pair);

    /// <summary>The length in bytes of every signature.</summary>
    public int SignatureLength { get; } = algorithm.SignatureLength(pair);

    /// <param name="data">The bytes to sign.</param>
    /// <param name="signature">Receives the signature. Its length must be <see cref="SignatureLength"/>.</param>
    public void Sign(ReadOnlySpan<byte> data, Span<byte> signature) => algorithm.Sign(pair, data, signature);
}
