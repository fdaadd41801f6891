using System.Security.Cryptography;
using Microsoft.IdentityModel.Tokens;

namespace TokenService.Jose;

/// <summary>
/// A signature algorithm of RFC 7518 §3.1 that this server signs with. It makes key pairs, reads them from PKCS #8,
/// writes their public half as a JWK, signs and verifies. RS256 and PS256 both use RSA keys, but each key is for one
/// algorithm only (RFC 8725 §3.1).
/// </summary>
internal abstract class SignatureAlgorithm(string name)
{
    private static readonly Dictionary<string, SignatureAlgorithm> Known = new SignatureAlgorithm[]
    {
        new EllipticCurve(SecurityAlgorithms.EcdsaSha256, ECCurve.NamedCurves.nistP256, HashAlgorithmName.SHA256),
        new EllipticCurve(SecurityAlgorithms.EcdsaSha384, ECCurve.NamedCurves.nistP384, HashAlgorithmName.SHA384),
        new Rsa(SecurityAlgorithms.RsaSha256, RSASignaturePadding.Pkcs1),
        new Rsa(SecurityAlgorithms.RsaSsaPssSha256, RSASignaturePadding.Pss),
    }.ToDictionary(algorithm => algorithm.Name, StringComparer.Ordinal);

    /// <summary>The value of <c>alg</c>.</summary>
    public string Name { get; } = name;

    public static IEnumerable<string> Names => Known.Keys;

    /// <exception cref="KeyNotFoundException">
    /// The name is unknown. This would be a bug: the database and the settings allow the known names only.
    /// </exception>
    public static SignatureAlgorithm Of(string name) => Known[name];

    /// <param name="rsaKeySize">Bits of an RSA modulus.</param>
    public abstract AsymmetricAlgorithm CreatePair(int rsaKeySize);

    /// <exception cref="CryptographicException">The bytes are not a private key of this kind.</exception>
    public abstract AsymmetricAlgorithm ReadPair(ReadOnlySpan<byte> pkcs8);

    /// <summary>The public half as a JWK that has only the members of RFC 7518 §6.</summary>
    public abstract JsonWebKey ToPublicJwk(AsymmetricAlgorithm pair);

    /// <summary>The length in bytes of every signature by this key pair.</summary>
    public abstract int SignatureLength(AsymmetricAlgorithm pair);

    /// <summary>
    /// Signs as RFC 7518 §3.3 to §3.5 say: an elliptic curve's signature is R and S at their full length.
    /// </summary>
    /// <param name="pair">A key pair of this kind.</param>
    /// <param name="data">The bytes to sign.</param>
    /// <param name="signature">Receives the signature. Its length must be <see cref="SignatureLength"/>.</param>
    public abstract void Sign(AsymmetricAlgorithm pair, ReadOnlySpan<byte> data, Span<byte> signature);

    /// <summary>True when this key pair made the signature over the data.</summary>
    public abstract bool Verifies(AsymmetricAlgorithm pair, ReadOnlySpan<byte> data, ReadOnlySpan<byte> signature);

    private static void ThrowUnless(bool isSigned)
    {
        if (!isSigned)
            throw new CryptographicException("The signature does not have the length that its key makes.");
    }

    private sealed class EllipticCurve(string name, ECCurve curve, HashAlgorithmName hash) : SignatureAlgorithm(name)
    {
        public override AsymmetricAlgorithm CreatePair(int rsaKeySize) => ECDsa.Create(curve);

        public override AsymmetricAlgorithm ReadPair(ReadOnlySpan<byte> pkcs8)
        {
            var pair = ECDsa.Create();
            pair.ImportPkcs8PrivateKey(pkcs8, out _);
            return pair;
        }

        public override JsonWebKey ToPublicJwk(AsymmetricAlgorithm pair)
        {
            using var publicHalf = ECDsa.Create(((ECDsa)pair).ExportParameters(includePrivateParameters: false));
            return JsonWebKeyConverter.ConvertFromECDsaSecurityKey(new ECDsaSecurityKey(publicHalf));
        }

        public override int SignatureLength(AsymmetricAlgorithm pair) =>
            ((ECDsa)pair).GetMaxSignatureSize(DSASignatureFormat.IeeeP1363FixedFieldConcatenation);

        public override void Sign(AsymmetricAlgorithm pair, ReadOnlySpan<byte> data, Span<byte> signature) =>
            ThrowUnless(((ECDsa)pair).TrySignData(data, signature, hash, out var written) && written == signature.Length);

        public override bool Verifies(AsymmetricAlgorithm pair, ReadOnlySpan<byte> data, ReadOnlySpan<byte> signature) =>
            ((ECDsa)pair).VerifyData(data, signature, hash);
    }

    private sealed class Rsa(string name, RSASignaturePadding padding) : SignatureAlgorithm(name)
    {
        public override AsymmetricAlgorithm CreatePair(int rsaKeySize) => RSA.Create(rsaKeySize);

        public override AsymmetricAlgorithm ReadPair(ReadOnlySpan<byte> pkcs8)
        {
            var pair = RSA.Create();
            pair.ImportPkcs8PrivateKey(pkcs8, out _);
            return pair;
        }

        public override JsonWebKey ToPublicJwk(AsymmetricAlgorithm pair) =>
            JsonWebKeyConverter.ConvertFromRSASecurityKey(
                new RsaSecurityKey(((RSA)pair).ExportParameters(includePrivateParameters: false)));

        public override int SignatureLength(AsymmetricAlgorithm pair) => pair.KeySize / 8;

        public override void Sign(AsymmetricAlgorithm pair, ReadOnlySpan<byte> data, Span<byte> signature) => ThrowUnless(
            ((RSA)pair).TrySignData(data, signature, HashAlgorithmName.SHA256, padding, out var written)
            && written == signature.Length);

        public override bool Verifies(AsymmetricAlgorithm pair, ReadOnlySpan<byte> data, ReadOnlySpan<byte> signature) =>
            ((RSA)pair).VerifyData(data, signature, HashAlgorithmName.SHA256, padding);
    }
}
