using System.Diagnostics.CodeAnalysis;
using System.Text.RegularExpressions;

namespace TokenService.Protocol;

/// <summary>
/// The issuer identifier of RFC 8414 §2, from configuration and never from a request: <c>iss</c> of every token, the base of
/// every address in the metadata, compared character by character.
/// </summary>
internal sealed partial class Issuer
{
    private readonly Uri uri;

    private Issuer(string value, Uri uri) => (Value, this.uri) = (value, uri);

    /// <summary>As configured, to the character.</summary>
    public string Value { get; }

    /// <summary>What its addresses have between host and endpoint: empty, or a path without a slash at its end.</summary>
    public string Path => uri.AbsolutePath.TrimEnd('/');

    /// <summary>True when credentials may reach us over TLS only (RFC 6749 §1.6).</summary>
    public bool RequiresTls => uri.Scheme == Uri.UriSchemeHttps;

    /// <summary>True when it names this machine only.</summary>
    public bool IsLoopback => uri.IsLoopback;

    /// <param name="path">Begins with a slash.</param>
    public string Endpoint(string path) => Value.TrimEnd('/') + path;

    /// <summary>RFC 8414 §2: an address without query or fragment. Whether plain http will do is for the caller to judge.</summary>
    public static bool TryParse(string? value, [NotNullWhen(true)] out Issuer? issuer)
    {
        issuer = null;
        if (value is null || !Grammar().IsMatch(value) || !Uri.TryCreate(value, UriKind.Absolute, out var uri))
            return false;

        issuer = new Issuer(value, uri);
        return true;
    }

    public override string ToString() => Value;

    // Host, port and a path of unreserved characters (RFC 3986 §2.3) without dot segments: nothing in it that anybody, on the
    // way or when comparing, could write in two ways.
    [GeneratedRegex(@"\Ahttps?://[A-Za-z0-9.:\[\]-]+(/(?!\.{1,2}(/|\z))[A-Za-z0-9._~-]+)*/?\z", RegexOptions.CultureInvariant)]
    private static partial Regex Grammar();
}
