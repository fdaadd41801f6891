using System.Diagnostics.CodeAnalysis;
using System.Text.RegularExpressions;

namespace TokenService.Protocol;

/// <summary>
/// The issuer identifier of RFC 8414 §2. It comes from configuration and never from a request, is the <c>iss</c> of
/// every token and the base of every address in the metadata, and is compared character by character.
/// </summary>
internal sealed partial class Issuer
{
    /// <summary>The path of the token endpoint, without the issuer's.</summary>
    public const string TokenPath = "/token";

    private readonly Uri uri;

    private Issuer(string value, Uri uri) => (Value, this.uri) = (value, uri);

    /// <summary>The identifier, character by character as it is configured.</summary>
    public string Value { get; }

    /// <summary>The path between the host and an endpoint: empty, or a path without a slash at its end.</summary>
    public string Path => uri.AbsolutePath.TrimEnd('/');

    /// <summary>True when clients may send credentials over TLS only (RFC 6749 §1.6).</summary>
    public bool RequiresTls => uri.Scheme == Uri.UriSchemeHttps;

    /// <summary>True when it names this machine only.</summary>
    public bool IsLoopback => uri.IsLoopback;

    /// <summary>The address of the token endpoint, as the metadata has it.</summary>
    public string TokenEndpoint => Endpoint(TokenPath);

    /// <param name="path">Begins with a slash.</param>
    public string Endpoint(string path) => Value.TrimEnd('/') + path;

    /// <summary>
    /// RFC 8414 §2: an address without query or fragment. The caller decides whether it may be plain http.
    /// </summary>
    public static bool TryParse(string? value, [NotNullWhen(true)] out Issuer? issuer)
    {
        issuer = null;
        if (value is null || !Grammar().IsMatch(value) || !Uri.TryCreate(value, UriKind.Absolute, out var uri))
            return false;

        issuer = new Issuer(value, uri);
        return true;
    }

    public override string ToString() => Value;

    // Host, port and a path of unreserved characters (RFC 3986 §2.3) without dot segments. No part of it has a second
    // spelling, so a proxy cannot rewrite it and a verifier's comparison of characters is enough.
    [GeneratedRegex(
        @"\Ahttps?://[A-Za-z0-9.:\[\]-]+(/(?!\.{1,2}(/|\z))[A-Za-z0-9._~-]+)*/?\z", RegexOptions.CultureInvariant)]
    private static partial Regex Grammar();
}
