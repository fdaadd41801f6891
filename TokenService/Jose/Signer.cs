using System.Security.Cryptography;

namespace TokenService.Jose;

/// <summary>A key that is opened, to sign with. Many threads may, at once, as OpenSSL allows.</summary>
/// <param name="kid">By which verifiers find its public half.</param>
/// <param name="algorithm">The one algorithm it signs with (RFC 8725 §3.1).</param>
/// <param name="pair">Of that kind.</param>
internal sealed class Signer(string kid, SignatureAlgorithm algorithm, AsymmetricAlgorithm pair)
{
    public string Kid { get; } = kid;

    /// <summary>The value of <c>alg</c>.</summary>
    public string Algorithm { get; } = algorithm.Name;

    /// <summary>The bytes of every signature.</summary>
    public int SignatureLength { get; } = algorithm.SignatureLength(pair);

    /// <param name="data">What is signed.</param>
    /// <param name="signature">As long as <see cref="SignatureLength"/> says.</param>
    public void Sign(ReadOnlySpan<byte> data, Span<byte> signature) => algorithm.Sign(pair, data, signature);

    /// <summary>True when the signature is one of its own over the data.</summary>
    public bool Verifies(ReadOnlySpan<byte> data, ReadOnlySpan<byte> signature) => algorithm.Verifies(pair, data, signature);
}
