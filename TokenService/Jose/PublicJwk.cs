using System.Buffers.Text;
using System.Diagnostics.CodeAnalysis;
using System.Numerics;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;

namespace TokenService.Jose;

/// <summary>
/// A public key as a JWK (RFC 7517 §4), of a kind that this server can verify with: an elliptic curve P-256 or P-384, RSA
/// with 2048 to 4096 bits and an exponent below 2^32, or Ed25519. The caller chooses the key of a DPoP proof, and so what
/// verifying with it costs; therefore the size is checked before anything is computed with it (RFC 8725 §3.4). Each
/// number has one spelling, so that a key has one thumbprint.
/// </summary>
internal abstract record PublicJwk
{
    private const int MinModulusBits = 2048;
    private const int MaxModulusBits = 4096;
    private const int MaxExponentLength = 4; // bytes

    // RFC 7518 §6.2.2, §6.3.2 and §6.4.1.
    private static readonly string[] PrivateMembers = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

    private string? thumbprint;

    private PublicJwk()
    {
    }

    /// <summary>
    /// The JWK thumbprint with SHA-256 (RFC 7638 §3), in base64url: 43 characters. It comes from the required members
    /// only, so other members do not change it.
    /// </summary>
    public string Thumbprint => thumbprint ??= Base64Url.EncodeToString(SHA256.HashData(Encoding.ASCII.GetBytes(RequiredMembers)));

    /// <summary>The JSON of RFC 7638 §3.2. No value in it needs an escape.</summary>
    protected abstract string RequiredMembers { get; }

    /// <param name="Curve"><c>P-256</c> or <c>P-384</c>.</param>
    public sealed record EllipticCurve(string Curve, byte[] X, byte[] Y) : PublicJwk
    {
        protected override string RequiredMembers =>
            $$"""{"crv":"{{Curve}}","kty":"EC","x":"{{Base64Url.EncodeToString(X)}}","y":"{{Base64Url.EncodeToString(Y)}}"}""";
    }

    public sealed record Rsa(byte[] Modulus, byte[] Exponent) : PublicJwk
    {
        protected override string RequiredMembers =>
            $$"""{"e":"{{Base64Url.EncodeToString(Exponent)}}","kty":"RSA","n":"{{Base64Url.EncodeToString(Modulus)}}"}""";
    }

    /// <summary>RFC 8037 §2.</summary>
    public sealed record Ed25519(byte[] X) : PublicJwk
    {
        protected override string RequiredMembers => $$"""{"crv":"Ed25519","kty":"OKP","x":"{{Base64Url.EncodeToString(X)}}"}""";
    }

    /// <summary>Reads a JWK. Members that nobody needs here, such as kid and x5c, are ignored.</summary>
    /// <param name="jwk">Any JSON.</param>
    /// <param name="key">The key; null: there is a defect.</param>
    /// <param name="defect">A clause that goes on from "the key", without anything of the key in it.</param>
    public static bool TryRead(
        JsonElement jwk, [NotNullWhen(true)] out PublicJwk? key, [NotNullWhen(false)] out string? defect)
    {
        key = null;
        defect = DefectOf(jwk);
        if (defect is not null)
            return false;

        (key, defect) = (Jws.Text(jwk, "kty"), Jws.Text(jwk, "crv")) switch
        {
            ("EC", "P-256" or "P-384") => ReadCurve(jwk),
            ("RSA", _) => ReadRsa(jwk),
            ("OKP", "Ed25519") => ReadEd25519(jwk),
            _ => (null, "is neither RSA nor on the curve P-256, P-384 or Ed25519"),
        };
        return key is not null;
    }

    private static string? DefectOf(JsonElement jwk)
    {
        if (jwk.ValueKind != JsonValueKind.Object)
            return "is not a JSON object";
        if (PrivateMembers.Any(member => jwk.TryGetProperty(member, out _)))
            return "has a private member";
        // RFC 7517 §4.2 and §4.3.
        if (jwk.TryGetProperty("use", out var use) && !Is(use, "sig"))
            return "has a use other than sig";
        return jwk.TryGetProperty("key_ops", out var operations)
            && (operations.ValueKind != JsonValueKind.Array || !operations.EnumerateArray().Any(operation => Is(operation, "verify")))
                ? "has key_ops without verify"
                : null;

        static bool Is(JsonElement value, string text) => value.ValueKind == JsonValueKind.String && value.ValueEquals(text);
    }

    private static (PublicJwk?, string?) ReadCurve(JsonElement jwk)
    {
        var curve = Jws.Text(jwk, "crv")!;
        var length = curve == "P-256" ? 32 : 48;
        // RFC 7518 §6.2.1.2: the full length, with zeros at the front.
        return Bytes(jwk, "x") is { } x && x.Length == length && Bytes(jwk, "y") is { } y && y.Length == length
            ? (new EllipticCurve(curve, x, y), null)
            : (null, "has a coordinate that is missing, or is not base64url of full length");
    }

    private static (PublicJwk?, string?) ReadRsa(JsonElement jwk)
    {
        if (Bytes(jwk, "n") is not { Length: > 0 } modulus || Bytes(jwk, "e") is not { Length: > 0 } exponent)
            return (null, "has an n or e that is missing, or is not base64url");
        // RFC 7518 §6.3.1.1: no zero octet at the front.
        if (modulus[0] == 0 || exponent[0] == 0)
            return (null, "has an n or e with a zero octet at its front");
        var bits = (modulus.Length * 8) - BitOperations.LeadingZeroCount((uint)modulus[0]) + 24;
        if (bits is < MinModulusBits or > MaxModulusBits || (modulus[^1] & 1) == 0)
            return (null, "has a modulus that is even, or not of 2048 to 4096 bits");
        return exponent.Length <= MaxExponentLength && (exponent[^1] & 1) == 1 && exponent is not [1]
            ? (new Rsa(modulus, exponent), null)
            : (null, "has an exponent that is even, 1, or 2^32 or more");
    }

    private static (PublicJwk?, string?) ReadEd25519(JsonElement jwk) =>
        Bytes(jwk, "x") is { Length: 32 } x ? (new Ed25519(x), null) : (null, "has an x that is missing, or is not base64url of 32 bytes");

    private static byte[]? Bytes(JsonElement jwk, string member) =>
        Jws.Text(jwk, member) is { } text && CanonicalBase64Url.TryDecode(text, out var bytes) ? bytes : null;
}
