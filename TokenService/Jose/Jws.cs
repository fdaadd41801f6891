using System.Diagnostics.CodeAnalysis;
using System.Text;
using System.Text.Json;
using System.Text.Unicode;

namespace TokenService.Jose;

/// <summary>
/// A JWS in its compact form (RFC 7515 §7.1), parsed as strictly as RFC 8725 asks: canonical base64url, UTF-8, JSON
/// objects in which no member repeats. Nothing in it is trusted before its signature is verified, except that its
/// header names the key to verify with.
/// </summary>
internal sealed class Jws
{
    // RFC 8725 §3.7 and RFC 7515 §4: a member that repeats makes the object invalid.
    private static readonly JsonDocumentOptions Strict = new() { AllowDuplicateProperties = false, MaxDepth = 32 };

    // Far more than an assertion or a DPoP proof has. A caller that is not authenticated yet may send 8 KiB of JSON, and each
    // object, array and member costs a fraction of a microsecond.
    private const int MaxBracketsOfCaller = 64;
    private const int MaxCommasOfCaller = 256;

    private readonly JsonElement header;
    private readonly string payload;
    private readonly bool isOfCaller;

    private Jws(JsonElement header, string payload, byte[] signingInput, byte[] signature, bool isOfCaller) =>
        (this.header, this.payload, SigningInput, Signature, this.isOfCaller) = (header, payload, signingInput, signature, isOfCaller);

    /// <summary><c>typ</c>; null: there is none, or it is not a string.</summary>
    public string? Type => Text(header, "typ");

    /// <summary><c>alg</c>; null: there is none, or it is not a string.</summary>
    public string? Algorithm => Text(header, "alg");

    /// <summary><c>kid</c>; null: there is none, or it is not a string.</summary>
    public string? KeyId => Text(header, "kid");

    /// <summary><c>jwk</c> (RFC 7515 §4.1.3), which only a DPoP proof may have; undefined: there is none.</summary>
    public JsonElement Key => header.TryGetProperty("jwk", out var jwk) ? jwk : default;

    /// <summary>
    /// RFC 7515 §4.1.11: a verifier that does not understand the extensions in <c>crit</c> refuses the JWS.
    /// </summary>
    public bool HasCriticalExtensions => header.TryGetProperty("crit", out _);

    /// <summary>The signed bytes: encoded header, period, encoded payload.</summary>
    public byte[] SigningInput { get; }

    public byte[] Signature { get; }

    /// <summary>
    /// True when <c>typ</c> is this media type: without case, and with or without "application/" (RFC 7515 §4.1.9).
    /// </summary>
    public bool IsOfType(string type)
    {
        const string prefix = "application/";
        var own = Type.AsSpan();
        return own.Equals(type, StringComparison.OrdinalIgnoreCase)
            || (own.StartsWith(prefix, StringComparison.OrdinalIgnoreCase)
                && own[prefix.Length..].Equals(type, StringComparison.OrdinalIgnoreCase));
    }

    /// <summary>True when there is a <c>typ</c>, of any JSON type.</summary>
    public bool HasType => header.TryGetProperty("typ", out _);

    /// <summary>
    /// Parses all but the payload. False: it is not a compact JWS, or its header is not a JSON object.
    /// </summary>
    /// <param name="compact">Any string.</param>
    /// <param name="jws">The JWS.</param>
    /// <param name="isOfCaller">True: a caller has made it, so its JSON must be small.</param>
    public static bool TryParse(string compact, [NotNullWhen(true)] out Jws? jws, bool isOfCaller = false)
    {
        jws = null;
        if (compact.Split('.') is not [var header, var payload, var signature]
            || !TryParseObject(header, isOfCaller, out var head)
            || !CanonicalBase64Url.TryDecode(signature, out var signatureBytes))
            return false;

        var signingInput = Encoding.ASCII.GetBytes(compact, 0, header.Length + 1 + payload.Length);
        jws = new Jws(head, payload, signingInput, signatureBytes, isOfCaller);
        return true;
    }

    /// <summary>The payload; call this only after the signature was verified. False: it is not a JSON object.</summary>
    public bool TryReadClaims(out JsonElement claims) => TryParseObject(payload, isOfCaller, out claims);

    /// <summary>The value of a member; null: there is none, or it is not a string.</summary>
    public static string? Text(JsonElement json, string member) =>
        json.TryGetProperty(member, out var value) && value.ValueKind == JsonValueKind.String ? value.GetString() : null;

    private static bool TryParseObject(string part, bool isOfCaller, out JsonElement json)
    {
        json = default;
        if (!CanonicalBase64Url.TryDecode(part, out var utf8) || !Utf8.IsValid(utf8) || (isOfCaller && IsLarge(utf8)))
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

    private static bool IsLarge(ReadOnlySpan<byte> utf8) =>
        utf8.Count((byte)'[') + utf8.Count((byte)'{') > MaxBracketsOfCaller || utf8.Count((byte)',') > MaxCommasOfCaller;

    // RFC 8725 §3.7: the parser accepts an escape that is not valid text, such as "\ud800", and throws only when the
    // string is read. Every escaped string is read here, so that later code meets none.
    private static void ReadEscapes(ReadOnlySpan<byte> utf8)
    {
        var json = new Utf8JsonReader(utf8);
        while (json.Read())
        {
            if (json.ValueIsEscaped)
                json.GetString();
        }
    }
}
