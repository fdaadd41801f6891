using System.Security.Cryptography;
using System.Text.Json;
using Microsoft.IdentityModel.Tokens;

namespace TokenService.Keys;

/// <summary>
/// A signature algorithm of RFC 7518 §3.1 that we sign with: how its key pairs are made, kept as PKCS #8, and shown as JWK.
/// RS256 and PS256 share a kind of key, but a key serves one algorithm only (RFC 8725 §3.1).
/// </summary>
internal abstract class SigningAlgorithm(string name)
{
    private static readonly Dictionary<string, SigningAlgorithm> Known = new SigningAlgorithm[]
    {
        new EllipticCurve(SecurityAlgorithms.EcdsaSha256, ECCurve.NamedCurves.nistP256, JsonWebKeyECTypes.P256),
        new EllipticCurve(SecurityAlgorithms.EcdsaSha384, ECCurve.NamedCurves.nistP384, JsonWebKeyECTypes.P384),
        new Rsa(SecurityAlgorithms.RsaSha256),
        new Rsa(SecurityAlgorithms.RsaSsaPssSha256),
    }.ToDictionary(algorithm => algorithm.Name, StringComparer.Ordinal);

    /// <summary>The value of <c>alg</c>.</summary>
    public string Name { get; } = name;

    public static IEnumerable<string> Names => Known.Keys;

    /// <exception cref="KeyNotFoundException">There is none of that name. The database and the settings allow none such.</exception>
    public static SigningAlgorithm Of(string name) => Known[name];

    /// <param name="rsaKeySize">Bits of an RSA modulus.</param>
    public abstract AsymmetricAlgorithm CreatePair(int rsaKeySize);

    /// <exception cref="CryptographicException">The bytes are not a private key of this kind.</exception>
    public abstract AsymmetricAlgorithm ReadPair(ReadOnlySpan<byte> pkcs8);

    /// <summary>What a token handler signs with.</summary>
    public SigningCredentials Credentials(AsymmetricAlgorithm pair, string kid)
    {
        var key = ToKey(pair);
        key.KeyId = kid;
        return new SigningCredentials(key, Name);
    }

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

    protected abstract SecurityKey ToKey(AsymmetricAlgorithm pair);

    protected abstract JsonWebKey ToPublicJwk(AsymmetricAlgorithm pair);

    private sealed class EllipticCurve(string name, ECCurve curve, string crv) : SigningAlgorithm(name)
    {
        public override AsymmetricAlgorithm CreatePair(int rsaKeySize) => ECDsa.Create(curve);

        public override AsymmetricAlgorithm ReadPair(ReadOnlySpan<byte> pkcs8)
        {
            var pair = ECDsa.Create();
            pair.ImportPkcs8PrivateKey(pkcs8, out _);
            return pair;
        }

        protected override SecurityKey ToKey(AsymmetricAlgorithm pair) => new ECDsaSecurityKey((ECDsa)pair);

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

    private sealed class Rsa(string name) : SigningAlgorithm(name)
    {
        public override AsymmetricAlgorithm CreatePair(int rsaKeySize) => RSA.Create(rsaKeySize);

        public override AsymmetricAlgorithm ReadPair(ReadOnlySpan<byte> pkcs8)
        {
            var pair = RSA.Create();
            pair.ImportPkcs8PrivateKey(pkcs8, out _);
            return pair;
        }

        protected override SecurityKey ToKey(AsymmetricAlgorithm pair) => new RsaSecurityKey((RSA)pair);

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
