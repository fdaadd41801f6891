using System.Security.Cryptography;
using Microsoft.IdentityModel.Tokens;

namespace TokenService.Jose;

/// <summary>
/// A signature algorithm of RFC 7518 §3.1 that we sign with: how its key pairs are made, read from PKCS #8 and shown as JWK, and how
/// they sign. RS256 and PS256 share a kind of key, but a key serves one algorithm only (RFC 8725 §3.1).
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

    /// <exception cref="KeyNotFoundException">There is none of that name. The database and the settings allow no such name.</exception>
    public static SignatureAlgorithm Of(string name) => Known[name];

    /// <param name="rsaKeySize">Bits of an RSA modulus.</param>
    public abstract AsymmetricAlgorithm CreatePair(int rsaKeySize);

    /// <exception cref="CryptographicException">The bytes are not a private key of this kind.</exception>
    public abstract AsymmetricAlgorithm ReadPair(ReadOnlySpan<byte> pkcs8);

    /// <summary>The public half as a JWK with the members of RFC 7518 §6 only.</summary>
    public abstract JsonWebKey ToPublicJwk(AsymmetricAlgorithm pair);

    /// <summary>The bytes of every signature by this key pair.</summary>
    public abstract int SignatureLength(AsymmetricAlgorithm pair);

    /// <summary>Signs as RFC 7518 §3.3 to §3.5 have it: an elliptic curve's signature is R and S at their full length.</summary>
    /// <param name="pair">A key pair of this kind.</param>
    /// <param name="data">What is signed.</param>
    /// <param name="signature">As long as <see cref="SignatureLength"/> says.</param>
    public abstract void Sign(AsymmetricAlgorithm pair, ReadOnlySpan<byte> data, Span<byte> signature);

    /// <summary>True when the signature is one of this key pair over the data.</summary>
    public abstract bool Verifies(AsymmetricAlgorithm pair, ReadOnlySpan<byte> data, ReadOnlySpan<byte> signature);

    private static void Check(bool isSigned)
    {
        if (!isSigned)
            throw new CryptographicException("A signature is not of the length its key makes.");
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
            using var half = ECDsa.Create(((ECDsa)pair).ExportParameters(includePrivateParameters: false));
            return JsonWebKeyConverter.ConvertFromECDsaSecurityKey(new ECDsaSecurityKey(half));
        }

        public override int SignatureLength(AsymmetricAlgorithm pair) =>
            ((ECDsa)pair).GetMaxSignatureSize(DSASignatureFormat.IeeeP1363FixedFieldConcatenation);

        public override void Sign(AsymmetricAlgorithm pair, ReadOnlySpan<byte> data, Span<byte> signature) =>
            Check(((ECDsa)pair).TrySignData(data, signature, hash, out var written) && written == signature.Length);

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

        public override void Sign(AsymmetricAlgorithm pair, ReadOnlySpan<byte> data, Span<byte> signature) => Check(
            ((RSA)pair).TrySignData(data, signature, HashAlgorithmName.SHA256, padding, out var written)
            && written == signature.Length);

        public override bool Verifies(AsymmetricAlgorithm pair, ReadOnlySpan<byte> data, ReadOnlySpan<byte> signature) =>
            ((RSA)pair).VerifyData(data, signature, HashAlgorithmName.SHA256, padding);
    }
}
