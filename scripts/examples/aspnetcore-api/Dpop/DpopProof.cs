using System.Buffers.Text;
using System.Diagnostics.CodeAnalysis;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Unicode;

namespace Examples;

/// <summary>
/// A DPoP proof (RFC 9449 §4.2) whose form and signature are right. What it says about request, token and time is
/// checked by its methods, which return what is wrong in words for the caller, or null.
/// </summary>
internal sealed class DpopProof
{
    private const int MaxLength = 4096; // characters

    private const int MaxIdLength = 256; // characters

    // The proof's age in seconds, and how far the caller's clock may be ahead.
    private const int MaxAge = 60;
    private const int Skew = 30;

    // RFC 8725 §3.7 and RFC 7515 §4: a member that repeats makes the object invalid.
    private static readonly JsonDocumentOptions Strict = new() { AllowDuplicateProperties = false, MaxDepth = 32 };

    private readonly JsonElement claims;

    private DpopProof(JsonElement claims, string id, string thumbprint) => (this.claims, Id, Thumbprint) = (claims, id, thumbprint);

    /// <summary><c>jti</c></summary>
    public string Id { get; }

    /// <summary>The JWK thumbprint (RFC 7638) of the key that signed the proof.</summary>
    public string Thumbprint { get; }

    /// <summary><c>nonce</c>; null: there is none, or it is not a string.</summary>
    public string? Nonce => Text(claims, "nonce");

    /// <summary>Parses a proof and verifies its signature with the key it brings.</summary>
    /// <param name="compact">The value of the DPoP header.</param>
    /// <param name="algorithms">The accepted values of alg.</param>
    /// <param name="proof">The proof, when the result is null.</param>
    public static string? Read(string compact, IReadOnlyCollection<string> algorithms, out DpopProof? proof)
    {
        proof = null;
        if (compact.Length > MaxLength)
            return "The DPoP proof has more than 4096 characters.";
        if (compact.Split('.') is not [var header, var payload, var signature]
            || !TryParse(header, out var head) || !TryParse(payload, out var claims) || !TryDecode(signature, out var signatureBytes))
            return "The DPoP header does not hold one JWT.";
        if (!IsProofType(Text(head, "typ")))
            return "typ of the DPoP proof is not dpop+jwt.";
        if (Text(head, "alg") is not { } algorithm || !algorithms.Contains(algorithm))
            return "alg of the DPoP proof is not one of those in algs.";
        // RFC 7515 §4.1.11: a verifier that does not understand the extensions in crit refuses the JWS.
        if (head.TryGetProperty("crit", out _))
            return "The DPoP proof has critical extensions.";
        if (!head.TryGetProperty("jwk", out var jwk))
            return "The DPoP proof has no jwk.";
        using var key = DpopKey.Read(jwk, algorithm);
        if (key is null)
            return "jwk of the DPoP proof is not a public key for its alg.";
        if (!key.Verifies(Encoding.ASCII.GetBytes(compact, 0, header.Length + 1 + payload.Length), signatureBytes))
            return "The signature of the DPoP proof is wrong.";
        if (Text(claims, "jti") is not { Length: >= 1 and <= MaxIdLength } id)
            return "jti of the DPoP proof is not a string of 1 to 256 characters.";

        proof = new DpopProof(claims, id, key.Thumbprint);
        return null;
    }

    /// <summary>Is the proof for this request and this token? RFC 9449 §4.3, items 8, 9 and 12.</summary>
    /// <param name="method">The request's method. Methods differ by case (RFC 9110 §9.1).</param>
    /// <param name="targets">The addresses that this request may have been sent to, each with its path.</param>
    /// <param name="token">The access token, as it was sent.</param>
    public string? FlawFor(string method, IEnumerable<DpopTarget> targets, string token)
    {
        if (Text(claims, "htm") != method)
            return "htm of the DPoP proof is not the method of the request.";
        if (DpopTarget.Parse(Text(claims, "htu")) is not { } target || !targets.Contains(target))
            return "htu of the DPoP proof is not the address of the request.";
        if (Text(claims, "ath") != Base64Url.EncodeToString(SHA256.HashData(Encoding.ASCII.GetBytes(token))))
            return "ath of the DPoP proof is not the hash of the access token.";
        return null;
    }

    /// <summary>Is the proof of this time? RFC 9449 §4.3, item 11, and RFC 7519 §4.1.4 and §4.1.5.</summary>
    /// <param name="now">The time to compare with.</param>
    /// <param name="hasGoodNonce">
    /// A good nonce shows when the proof was made, so iat is not compared. A caller whose clock is wrong can then work.
    /// </param>
    public string? FlawAt(DateTimeOffset now, bool hasGoodNonce)
    {
        var seconds = now.ToUnixTimeMilliseconds() / 1000.0;
        if (!TryReadTime("iat", out var issued) || issued is null)
            return "iat of the DPoP proof is not a time.";
        if (!hasGoodNonce && (issued < seconds - MaxAge || issued > seconds + Skew))
            return "iat of the DPoP proof is not within 60 seconds before and 30 seconds after the time of this API.";
        if (!TryReadTime("exp", out var expiry) || expiry <= seconds - Skew)
            return "The DPoP proof has expired.";
        if (!TryReadTime("nbf", out var start) || start > seconds + Skew)
            return "The DPoP proof is not valid yet.";
        return null;
    }

    /// <summary>The value of a member; null: there is none, or it is not a string.</summary>
    public static string? Text(JsonElement json, string member) =>
        json.TryGetProperty(member, out var value) && value.ValueKind == JsonValueKind.String ? value.GetString() : null;

    /// <summary>
    /// Decodes base64url. The decoder accepts several spellings of the same bytes, and this method only the canonical
    /// one.
    /// </summary>
    public static bool TryDecode(string part, [NotNullWhen(true)] out byte[]? bytes)
    {
        try
        {
            bytes = Base64Url.DecodeFromChars(part);
            return Base64Url.EncodeToString(bytes) == part;
        }
        catch (FormatException)
        {
            bytes = null;
            return false;
        }
    }

    /// <summary>Parses a part of a JWT that must be a JSON object.</summary>
    public static bool TryParse(string part, out JsonElement json)
    {
        json = default;
        if (!TryDecode(part, out var utf8) || !Utf8.IsValid(utf8))
            return false;
        try
        {
            json = JsonElement.Parse(utf8, Strict);
            ReadEscapes(utf8);
            return json.ValueKind == JsonValueKind.Object;
        }
        // The reader throws InvalidOperationException for an escape of half a character, such as "\ud800".
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            return false;
        }
    }

    // The parser accepts an escape that is not valid text and throws only when the string is read. Every escaped string
    // is read here, so that later code meets none.
    private static void ReadEscapes(ReadOnlySpan<byte> utf8)
    {
        var json = new Utf8JsonReader(utf8, new JsonReaderOptions { MaxDepth = Strict.MaxDepth });
        while (json.Read())
        {
            if (json.ValueIsEscaped)
                json.GetString();
        }
    }

    // RFC 7515 §4.1.9: a media type, compared without case, whose "application/" may be left out.
    private static bool IsProofType(string? type) =>
        string.Equals(type, "dpop+jwt", StringComparison.OrdinalIgnoreCase)
        || string.Equals(type, "application/dpop+jwt", StringComparison.OrdinalIgnoreCase);

    // RFC 7519 §2: a NumericDate is a number of seconds, which may have a fraction. False: it is there and no number.
    private bool TryReadTime(string claim, out double? seconds)
    {
        seconds = null;
        if (!claims.TryGetProperty(claim, out var value))
            return true;
        if (value.ValueKind != JsonValueKind.Number)
            return false;
        seconds = value.GetDouble();
        return true;
    }
}

/// <summary>
/// An address as RFC 9449 §4.3 compares it: without query and fragment, scheme and host without case, the default port
/// left out, the path character by character.
/// </summary>
internal sealed record DpopTarget(string Scheme, string Host, int Port, string Path)
{
    /// <returns>Null: it is not an absolute http or https URL, or it has user info.</returns>
    public static DpopTarget? Parse(string? url)
    {
        // The URL is ASCII (RFC 3986 §2). Uri would also take spaces, and a backslash for a slash.
        if (url is null || url.Any(c => c is <= ' ' or > '~' or '\\')
            || !Uri.TryCreate(url, UriKind.Absolute, out var uri) || uri.Scheme is not ("https" or "http")
            || !url.AsSpan(uri.Scheme.Length).StartsWith("://"))
            return null;

        // Uri rewrites a path ("/a/../b"), so the path is taken from the text.
        var afterScheme = url[(uri.Scheme.Length + 3)..];
        var authority = UntilAny(afterScheme, "/?#");
        var path = UntilAny(afterScheme[authority.Length..], "?#");
        return authority.Contains('@', StringComparison.Ordinal)
            ? null
            : new DpopTarget(uri.Scheme, uri.Host, uri.Port, path == "" ? "/" : path);
    }

    private static string UntilAny(string text, string ends) =>
        text.AsSpan().IndexOfAny(ends) is >= 0 and var end ? text[..end] : text;
}
