using System.Security.Cryptography;
using System.Text.Json;
using Microsoft.IdentityModel.Tokens;

namespace TokenService.Jose;

/// <summary>
/// A signature algorithm of RFC 7518 §3.1 that we sign with: how its key pairs are made, kept as PKCS #8, and shown as JWK.
/// RS256 and PS256 share a kind of key, but a key serves one algorithm only (RFC 8725 §3.1).
/// </summary>
internal abstract class SignatureAlgorithm(string name)
{
    private static readonly Dictionary<string, SignatureAlgorithm> Known = new SignatureAlgorithm[]
    {
        new EllipticCurve(SecurityAlgorithms.EcdsaSha256, ECCurve.NamedCurves.nistP256, JsonWebKeyECTypes.P256, HashAlgorithmName.SHA256),
        new EllipticCurve(SecurityAlgorithms.EcdsaSha384, ECCurve.NamedCurves.nistP384, JsonWebKeyECTypes.P384, HashAlgorithmName.SHA384),
        new Rsa(SecurityAlgorithms.RsaSha256, RSASignaturePadding.Pkcs1),
        new Rsa(SecurityAlgorithms.RsaSsaPssSha256, RSASignaturePadding.Pss),
    }.ToDictionary(algorithm => algorithm.Name, StringComparer.Ordinal);

    /// <summary>The value of <c>alg</c>.</summary>
    public string Name { get; } = name;

    public static IEnumerable<string> Names => Known.Keys;

    /// <exception cref="KeyNotFoundException">There is none of that name. The database and the settings allow none such.</exception>
    public static SignatureAlgorithm Of(string name) => Known[name];

    /// <param name="rsaKeySize">Bits of an RSA modulus.</param>
    public abstract AsymmetricAlgorithm CreatePair(int rsaKeySize);

    /// <exception cref="CryptographicException">The bytes are not a private key of this kind.</exception>
    public abstract AsymmetricAlgorithm ReadPair(ReadOnlySpan<byte> pkcs8);

    /// <summary>The bytes of every signature by this key pair.</summary>
    public abstract int SignatureLength(AsymmetricAlgorithm pair);

    /// <summary>Signs, as RFC 7518 §3.3 to §3.5 have it: an elliptic curve's signature is R and S at their full length.</summary>
    /// <param name="pair">A key pair of this kind.</param>
    /// <param name="data">What is signed.</param>
    /// <param name="signature">As long as <see cref="SignatureLength"/> says.</param>
    public abstract void Sign(AsymmetricAlgorithm pair, ReadOnlySpan<byte> data, Span<byte> signature);

    /// <summary>True when the signature is one of this key pair over the data.</summary>
    public abstract bool Verifies(AsymmetricAlgorithm pair, ReadOnlySpan<byte> data, ReadOnlySpan<byte> signature);

    /// <summary>The public JWK: RFC 7517 §4 with the members of RFC 7518 §6, and the thumbprint of RFC 7638 as kid.</summary>
    public JsonElement PublicJwk(AsymmetricAlgorithm pair)
    {
        var jwk = ToPublicJwk(pair);
        var members = new SortedDictionary<string, string>(StringComparer.Ordinal)
        {
            ["alg"] = Name,
            ["kid"] = Base64UrlEncoder.Encode(jwk.ComputeJwkThumbprint()),
            ["kty"] = jwk.Kty,
            ["use"] = JsonWebKeyUseNames.Sig,
        };
        // Named one by one, so that no private member can slip through.
        foreach (var (member, value) in new[] { ("crv", jwk.Crv), ("x", jwk.X), ("y", jwk.Y), ("n", jwk.N), ("e", jwk.E) })
        {
            if (value is not null)
                members[member] = value;
        }

        return JsonSerializer.SerializeToElement(members);
    }

    protected abstract JsonWebKey ToPublicJwk(AsymmetricAlgorithm pair);

    private static void Check(bool isSigned)
    {
        if (!isSigned)
            throw new CryptographicException("A signature is not of the length its key makes.");
    }

    private sealed class EllipticCurve(string name, ECCurve curve, string crv, HashAlgorithmName hash) : SignatureAlgorithm(name)
    {
        public override AsymmetricAlgorithm CreatePair(int rsaKeySize) => ECDsa.Create(curve);

        public override AsymmetricAlgorithm ReadPair(ReadOnlySpan<byte> pkcs8)
        {
            var pair = ECDsa.Create();
            pair.ImportPkcs8PrivateKey(pkcs8, out _);
            return pair;
        }

        public override int SignatureLength(AsymmetricAlgorithm pair) =>
            ((ECDsa)pair).GetMaxSignatureSize(DSASignatureFormat.IeeeP1363FixedFieldConcatenation);

        public override void Sign(AsymmetricAlgorithm pair, ReadOnlySpan<byte> data, Span<byte> signature) =>
            Check(((ECDsa)pair).TrySignData(data, signature, hash, out var written) && written == signature.Length);

        public override bool Verifies(AsymmetricAlgorithm pair, ReadOnlySpan<byte> data, ReadOnlySpan<byte> signature) =>
            ((ECDsa)pair).VerifyData(data, signature, hash);

        protected override JsonWebKey ToPublicJwk(AsymmetricAlgorithm pair)
        {
            var point = ((ECDsa)pair).ExportParameters(includePrivateParameters: false).Q;
            return new JsonWebKey
            {
                Kty = JsonWebAlgorithmsKeyTypes.EllipticCurve,
                Crv = crv,
                X = Base64UrlEncoder.Encode(point.X),
                Y = Base64UrlEncoder.Encode(point.Y),
            };
        }
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

        public override int SignatureLength(AsymmetricAlgorithm pair) => pair.KeySize / 8;

        public override void Sign(AsymmetricAlgorithm pair, ReadOnlySpan<byte> data, Span<byte> signature) =>
            Check(((RSA)pair).TrySignData(data, signature, HashAlgorithmName.SHA256, padding, out var written) && written == signature.Length);

        public override bool Verifies(AsymmetricAlgorithm pair, ReadOnlySpan<byte> data, ReadOnlySpan<byte> signature) =>
            ((RSA)pair).VerifyData(data, signature, HashAlgorithmName.SHA256, padding);

        protected override JsonWebKey ToPublicJwk(AsymmetricAlgorithm pair)
        {
            var key = ((RSA)pair).ExportParameters(includePrivateParameters: false);
            return new JsonWebKey
            {
                Kty = JsonWebAlgorithmsKeyTypes.RSA,
                N = Base64UrlEncoder.Encode(key.Modulus),
                E = Base64UrlEncoder.Encode(key.Exponent),
            };
        }
    }
}
