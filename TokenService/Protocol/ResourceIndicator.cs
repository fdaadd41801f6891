using System.Text.RegularExpressions;

namespace TokenService.Protocol;

/// <summary>The identifier of a resource, RFC 8707 §2: an absolute URI without a fragment. Compared character by character.</summary>
internal static partial class ResourceIndicator
{
    private const int MaxLength = 256;

    public static bool IsWellFormed(string value) => value.Length <= MaxLength && Grammar().IsMatch(value);

    // As the constraint resource_audience_is_absolute_uri has it: a scheme, and what RFC 3986 §2 lets a URI have, but for '#'.
    [GeneratedRegex(@"\A[A-Za-z][A-Za-z0-9+.-]*:[\x21\x24-\x3B\x3D\x3F-\x5B\x5D\x5F\x61-\x7A\x7E]+\z", RegexOptions.CultureInvariant)]
    private static partial Regex Grammar();
}
