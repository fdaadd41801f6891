using System.Buffers;
using System.Buffers.Text;

namespace TokenService.Protocol;

/// <summary>
/// The client id and secret of an <c>Authorization: Basic</c> header: RFC 7617 §2, with the encoding of
/// RFC 6749 §2.3.1.
/// </summary>
internal sealed record BasicCredentials(string ClientId, string Secret)
{
    private const string Scheme = "Basic";

    // Characters of Base64. The longest id (255) and secret (256 bytes), percent-encoded, take less than half of this.
    private const int MaxLength = 4096;

    // Base64's alphabet and padding. The decoder would skip white space, so other characters are refused before it
    // runs.
    private static readonly SearchValues<char> Base64Characters =
        SearchValues.Create("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=");

    /// <summary>
    /// The secret as it stood in the header, before it was form-decoded; null: decoding did not change it. Only for telling
    /// why a secret is wrong.
    /// </summary>
    public string? UndecodedSecret { get; private init; }

    /// <summary>
    /// The client_id of a header's value, even if the secret in it cannot be read; null: the id cannot be read either.
    /// </summary>
    public static string? ReadClientId(string? header)
    {
        Span<byte> bytes = stackalloc byte[Base64.GetMaxDecodedFromUtf8Length(MaxLength)];
        return header is not null
            && TryDecode(header, bytes, out _, out var colon) is null
            && FormUrlEncoding.TryDecode(bytes[..colon], out var clientId)
                ? clientId
                : null;
    }

    /// <summary>Reads the header's value. Every defect is the same invalid_client, with a detail for the log.</summary>
    public static Result<BasicCredentials> Parse(string header)
    {
        Span<byte> bytes = stackalloc byte[Base64.GetMaxDecodedFromUtf8Length(MaxLength)];
        if (TryDecode(header, bytes, out var length, out var colon) is { } detail)
            return OAuthError.InvalidClient(Reason.BasicMalformed, detail);
        ReadOnlySpan<byte> decoded = bytes[..length];

        // RFC 6749 §2.3.1: id and secret are form-encoded before Base64, so decode each after splitting.
        if (!FormUrlEncoding.TryDecode(decoded[..colon], out var clientId)
            || !FormUrlEncoding.TryDecode(decoded[(colon + 1)..], out var secret))
        {
            return OAuthError.InvalidClient(
                Reason.BasicMalformed, "the id or the secret has a % without two hexadecimal digits after it, or is not UTF-8");
        }

        return new BasicCredentials(clientId, secret) { UndecodedSecret = FormUrlEncoding.IfChanged(decoded[(colon + 1)..]) };
    }

    // A record's own ToString would print the secret into any log that is handed one of these.
    public override string ToString() => $"{Scheme} {ClientId}";

    // Undoes the Base64, and finds the colon between id and secret. Returns the defect of the header; null: there is none.
    private static string? TryDecode(string header, Span<byte> bytes, out int length, out int colon)
    {
        (length, colon) = (0, -1);
        var space = header.IndexOf(' ');
        if (space < 0 || !header.AsSpan(0, space).Equals(Scheme, StringComparison.OrdinalIgnoreCase))
            return "the scheme of the Authorization header is not Basic";

        var token = header.AsSpan(space).TrimStart(' ');
        if (token.Length > MaxLength)
            return "longer than 4096 characters";
        if (token.ContainsAnyExcept(Base64Characters) || !Convert.TryFromBase64Chars(token, bytes, out length))
            return "not Base64";
        colon = bytes[..length].IndexOf((byte)':');
        return colon < 0 ? "no colon" : null;
    }
}
