using System.Security.Cryptography;

namespace TokenService.Jose;

/// <summary>A key pair to sign with. Many threads may sign at once, as OpenSSL allows.</summary>
/// <param name="algorithm">The one algorithm it signs with (RFC 8725 §3.1).</param>
/// <param name="pair">A key pair of the algorithm's kind.</param>
internal sealed class Signer(SignatureAlgorithm algorithm, AsymmetricAlgorithm pair)
{
    /// <summary>What verifies its signatures.</summary>
    public PublicKey PublicKey { get; } = new(algorithm, pair);

    /// <summary>The bytes of every signature.</summary>
    public int SignatureLength { get; } = algorithm.SignatureLength(pair);

    /// <param name="data">What is signed.</param>
    /// <param name="signature">As long as <see cref="SignatureLength"/> says.</param>
    public void Sign(ReadOnlySpan<byte> data, Span<byte> signature) => algorithm.Sign(pair, data, signature);
}
