using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.Text;
using System.Text.Unicode;

namespace TokenService.Protocol;

/// <summary>
/// Decodes one name or value of <c>application/x-www-form-urlencoded</c> (RFC 6749 appendix B) as the parser of the
/// WHATWG URL standard does: an octet that an encoder should have encoded, such as the raw space of
/// <c>curl -d 'scope=read write'</c>, stands for itself. It refuses a <c>%</c> without two hexadecimal digits after it,
/// and octets that are not UTF-8.
/// </summary>
internal static class FormUrlEncoding
{
    public static bool TryDecode(ReadOnlySpan<byte> encoded, [NotNullWhen(true)] out string? decoded)
    {
        decoded = null;
        // Most names and values need no decoding.
        if (!encoded.ContainsAny((byte)'%', (byte)'+'))
            return TryReadUtf8(encoded, out decoded);

        Span<byte> bytes = encoded.Length <= 512 ? stackalloc byte[encoded.Length] : new byte[encoded.Length];
        var length = 0;
        for (var i = 0; i < encoded.Length; i++)
        {
            switch (encoded[i])
            {
                case (byte)'%':
                    if (i + 2 >= encoded.Length || !TryReadHex(encoded.Slice(i + 1, 2), out bytes[length]))
                        return false;
                    i += 2;
                    break;
                case (byte)'+':
                    bytes[length] = (byte)' ';
                    break;
                default:
                    bytes[length] = encoded[i];
                    break;
            }
            length++;
        }

        return TryReadUtf8(bytes[..length], out decoded);
    }

    /// <summary>The same octets without decoding; null: decoding does not change them.</summary>
    /// <param name="encoded">Octets that were decoded before, and so are UTF-8.</param>
    public static string? IfChanged(ReadOnlySpan<byte> encoded) =>
        encoded.ContainsAny((byte)'%', (byte)'+') && Utf8.IsValid(encoded) ? Encoding.UTF8.GetString(encoded) : null;

    private static bool TryReadUtf8(ReadOnlySpan<byte> bytes, [NotNullWhen(true)] out string? text)
    {
        text = Utf8.IsValid(bytes) ? Encoding.UTF8.GetString(bytes) : null;
        return text is not null;
    }

    // byte.TryParse accepts trailing NULs ("4\0"), so both characters are checked to be digits first.
    private static bool TryReadHex(ReadOnlySpan<byte> digits, out byte value)
    {
        value = 0;
        return char.IsAsciiHexDigit((char)digits[0])
            && char.IsAsciiHexDigit((char)digits[1])
            && byte.TryParse(digits, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out value);
    }
}
