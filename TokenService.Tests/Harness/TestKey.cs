using System.Buffers.Text;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using Microsoft.IdentityModel.Tokens;
using TokenService.Jose;

namespace TokenService.Tests.Harness;

/// <summary>A key pair of a caller, which signs its assertions or DPoP proofs.</summary>
internal sealed partial class TestKey
{
    private const int Ed25519SecretLength = 64;

    private readonly Func<byte[], byte[]> sign;

    static TestKey() => NativeLibrary.SetDllImportResolver(
        typeof(TestKey).Assembly,
        (name, _, _) => name == Libsodium.Library
            ? new[] { "libsodium.so.26", "libsodium.so.23" }
                .Select(file => NativeLibrary.TryLoad(file, out var handle) ? handle : 0).FirstOrDefault(handle => handle != 0)
            : 0);

    private TestKey(string algorithm, JsonObject jwk, Func<byte[], byte[]> sign) => (Algorithm, Jwk, this.sign) = (algorithm, jwk, sign);

    /// <summary>ES256, ES384, PS256, RS256 or Ed25519.</summary>
    public string Algorithm { get; }

    /// <summary>The public half, with the required members only.</summary>
    public JsonObject Jwk { get; }

    /// <summary>The JWK thumbprint (RFC 7638): the library that computes it for the other keys knows none of Ed25519.</summary>
    public string Thumbprint => Algorithm == "Ed25519"
        ? Base64Url.EncodeToString(SHA256.HashData(Encoding.ASCII.GetBytes($$"""{"crv":"Ed25519","kty":"OKP","x":"{{Jwk["x"]}}"}""")))
        : Base64UrlEncoder.Encode(new JsonWebKey(Jwk.ToJsonString()).ComputeJwkThumbprint());

    /// <param name="algorithm">ES256, ES384, PS256, RS256 or Ed25519; the last needs libsodium.</param>
    /// <param name="rsaBits">Bits of an RSA key.</param>
    public static TestKey Create(string algorithm = "ES256", int rsaBits = 2048) => algorithm switch
    {
        "ES256" => OfCurve(algorithm, ECCurve.NamedCurves.nistP256, HashAlgorithmName.SHA256),
        "ES384" => OfCurve(algorithm, ECCurve.NamedCurves.nistP384, HashAlgorithmName.SHA384),
        "PS256" => OfRsa(algorithm, RSASignaturePadding.Pss, RSA.Create(rsaBits)),
        "RS256" => OfRsa(algorithm, RSASignaturePadding.Pkcs1, RSA.Create(rsaBits)),
        "Ed25519" => OfEd25519(),
        _ => throw new ArgumentOutOfRangeException(nameof(algorithm)),
    };

    /// <summary>A key of a given pair.</summary>
    public static TestKey OfRsa(string algorithm, RSASignaturePadding padding, RSA pair)
    {
        var parameters = pair.ExportParameters(includePrivateParameters: false);
        var jwk = new JsonObject
        {
            ["kty"] = "RSA",
            ["n"] = Base64Url.EncodeToString(parameters.Modulus),
            ["e"] = Base64Url.EncodeToString(parameters.Exponent),
        };
        return new TestKey(algorithm, jwk, input => pair.SignData(input, HashAlgorithmName.SHA256, padding));
    }

    public byte[] Sign(string input) => sign(Encoding.ASCII.GetBytes(input));

    private static TestKey OfCurve(string algorithm, ECCurve curve, HashAlgorithmName hash)
    {
        var pair = ECDsa.Create(curve);
        var point = pair.ExportParameters(includePrivateParameters: false);
        var jwk = new JsonObject
        {
            ["kty"] = "EC",
            ["crv"] = algorithm == "ES256" ? "P-256" : "P-384",
            ["x"] = Base64Url.EncodeToString(point.Q.X),
            ["y"] = Base64Url.EncodeToString(point.Q.Y),
        };
        return new TestKey(algorithm, jwk, input => pair.SignData(input, hash));
    }

    private static TestKey OfEd25519()
    {
        Libsodium.Load();
        var (publicKey, secret) = (new byte[32], new byte[Ed25519SecretLength]);
        _ = crypto_sign_keypair(publicKey, secret);
        var jwk = new JsonObject { ["kty"] = "OKP", ["crv"] = "Ed25519", ["x"] = Base64Url.EncodeToString(publicKey) };
        return new TestKey("Ed25519", jwk, input =>
        {
            var signature = new byte[Libsodium.SignatureLength];
            _ = crypto_sign_detached(signature, 0, input, (ulong)input.Length, secret);
            return signature;
        });
    }

    [LibraryImport(Libsodium.Library)]
    private static partial int crypto_sign_keypair(Span<byte> publicKey, Span<byte> secret);

    [LibraryImport(Libsodium.Library)]
    private static partial int crypto_sign_detached(
        Span<byte> signature, nint length, ReadOnlySpan<byte> message, ulong messageLength, ReadOnlySpan<byte> secret);
}
