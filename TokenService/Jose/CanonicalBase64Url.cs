using System.Buffers.Text;
using System.Diagnostics.CodeAnalysis;

namespace TokenService.Jose;

/// <summary>
/// Base64url (RFC 7515 §2) in its one canonical spelling: without padding, white space and stray bits. The decoder of
/// .NET accepts several spellings of the same bytes.
/// </summary>
internal static class CanonicalBase64Url
{
    public static bool TryDecode(string text, [NotNullWhen(true)] out byte[]? bytes)
    {
        try
        {
            bytes = Base64Url.DecodeFromChars(text);
            return Base64Url.EncodeToString(bytes) == text;
        }
        catch (FormatException)
        {
            bytes = null;
            return false;
        }
    }
}
