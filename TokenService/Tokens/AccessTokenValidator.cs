using System.Buffers;
using System.Buffers.Text;
using System.Diagnostics.CodeAnalysis;
using System.Text;
using System.Text.Json;
using System.Text.Unicode;
using TokenService.Keys;
using TokenService.Protocol;

namespace TokenService.Tokens;

/// <summary>
/// Reads access tokens that somebody shows us, as RFC 9068 §4 and RFC 8725 have a verifier do it. Nothing in a token is believed
/// before its signature has been verified, with a key of ours and that key's algorithm.
/// </summary>
internal sealed class AccessTokenValidator(Issuer issuer, SigningKeys keys, TimeProvider clock)
{
    /// <summary>
    /// Characters a token may have: more than any of ours has, with as many scopes and extra claims as there may be.
    /// </summary>
    public const int MaxLength = 13 * 1024;

    // As the constraint revoked_token_jti_grammar has it.
    private const int MaxIdLength = 64;

    private static readonly SearchValues<char> Base64UrlCharacters =
        SearchValues.Create("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_");

    // RFC 8725 §3.7 and RFC 7515 §4: a member that repeats makes it invalid.
    private static readonly JsonDocumentOptions Strict = new() { AllowDuplicateProperties = false, MaxDepth = 32 };

    /// <param name="jwt">Anything.</param>
    /// <param name="ct">Ends the wait for the database, which seldom has to be asked for keys.</param>
    /// <exception cref="Npgsql.NpgsqlException">It would have to be, and is away.</exception>
    public async ValueTask<TokenValidation> ReadAsync(string jwt, CancellationToken ct)
    {
        if (jwt.Length > MaxLength)
            return "it is too long";
        if (jwt.Split('.') is not [var header, var payload, var signature])
            return "it is no signed JWT";
        if (!TryReadObject(header, out var head))
            return "its header is no JSON object";
        // RFC 8725 §3.11 and RFC 9068 §4.
        if (Text(head, "typ") != AccessTokenIssuer.Type)
            return "its typ is not that of an access token";
        // RFC 7515 §4.1.11: we write no extensions, and understand none.
        if (head.TryGetProperty("crit", out _))
            return "it has extensions";
        // RFC 8725 §3.10: to be looked up, and nothing else.
        if (Text(head, "kid") is not { } kid || await keys.FindAsync(kid, ct) is not { } key)
            return "no key that is published signed it";
        // RFC 8725 §3.1.
        if (Text(head, "alg") != key.Algorithm)
            return "its alg is not that of its key";
        var input = Encoding.ASCII.GetBytes(jwt, 0, header.Length + 1 + payload.Length);
        if (!TryDecode(signature, out var signed) || !key.Verifies(input, signed))
            return "its signature is wrong";
        return TryReadObject(payload, out var claims) ? Read(claims) : "its payload is no JSON object";
    }

    private TokenValidation Read(JsonElement claims)
    {
        // RFC 8725 §3.8.
        if (Text(claims, "iss") != issuer.Value)
            return "another issuer's";
        // What the database would not take never gets there.
        if (Text(claims, "jti") is not { Length: > 0 and <= MaxIdLength } id || id.AsSpan().ContainsAnyExcept(Base64UrlCharacters)
            || Text(claims, "client_id") is not { } clientId || !ClientId.IsWellFormed(clientId) || Text(claims, "aud") is not { } audience
            || Text(claims, "scope") is not { } scope || ScopeSet.Parse(scope).Refused(out _, out var scopes)
            || Time(claims, "iat") is not { } issuedAt || Time(claims, "exp") is not { } expiresAt)
            return "a claim is missing or malformed";

        var now = clock.GetUtcNow();
        if (expiresAt <= now)
            return "it has expired";
        if (Time(claims, "nbf") > now)
            return "it is not yet valid";
        var token = new ValidatedToken
        {
            Id = id,
            ClientId = clientId,
            Audience = audience,
            Scope = scopes,
            IssuedAt = issuedAt,
            ExpiresAt = expiresAt,
            Claims = claims,
        };
        return new TokenValidation(token, Failure: null);
    }

    private static bool TryReadObject(string part, out JsonElement json)
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
        // The second is what an escape causes that is half a character.
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            return false;
        }
    }

    // RFC 8725 §3.7: the parser lets through what is no text, as "\ud800", and throws when somebody reads it.
    private static void ReadEscapes(ReadOnlySpan<byte> utf8)
    {
        var json = new Utf8JsonReader(utf8);
        while (json.Read())
        {
            if (json.ValueIsEscaped)
                json.GetString();
        }
    }

    // The decoder is lenient; here there is one way to write each value.
    private static bool TryDecode(string part, [NotNullWhen(true)] out byte[]? bytes)
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

    private static string? Text(JsonElement json, string member) =>
        json.TryGetProperty(member, out var value) && value.ValueKind == JsonValueKind.String ? value.GetString() : null;

    // NumericDate, RFC 7519 §2; ours are whole seconds.
    private static DateTimeOffset? Time(JsonElement json, string member) =>
        json.TryGetProperty(member, out var value) && value.ValueKind == JsonValueKind.Number && value.TryGetInt64(out var seconds)
            && seconds is >= 0 and < 253_402_300_800 // the year 10000
                ? DateTimeOffset.FromUnixTimeSeconds(seconds)
                : null;
}
