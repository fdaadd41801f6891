using System.Text.RegularExpressions;

namespace TokenService.Protocol;

/// <summary>
/// The identifier of a resource: an absolute URI without a fragment (RFC 8707 §2), or a plain name, for an API that already expects one as
/// aud. Compared character by character. The function <c>is_resource_id</c> says the same to the database.
/// </summary>
internal static partial class ResourceIndicator
{
    private const int MaxLength = 256;

    /// <summary>Whether the parameter <c>resource</c> may name it: RFC 8707 §2 knows no plain names.</summary>
    public static bool IsAbsoluteUri(string value) => value.Length <= MaxLength && AbsoluteUri().IsMatch(value);

    public static bool IsUriOrName(string value) => IsAbsoluteUri(value) || (value.Length <= MaxLength && PlainName().IsMatch(value));

    // A scheme, and the characters that RFC 3986 §2 gives a URI, without '#'.
    [GeneratedRegex(@"\A[A-Za-z][A-Za-z0-9+.-]*:[\x21\x24-\x3B\x3D\x3F-\x5B\x5D\x5F\x61-\x7A\x7E]+\z", RegexOptions.CultureInvariant)]
    private static partial Regex AbsoluteUri();

    // The same characters without ':', so that a name has no scheme.
    [GeneratedRegex(@"\A[\x21\x24-\x39\x3B\x3D\x3F-\x5B\x5D\x5F\x61-\x7A\x7E]+\z", RegexOptions.CultureInvariant)]
    private static partial Regex PlainName();
}
