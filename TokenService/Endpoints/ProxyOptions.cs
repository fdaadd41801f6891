using System.ComponentModel.DataAnnotations;
using System.Net;

namespace TokenService.Endpoints;

/// <summary>The proxies in front of this server, and whether TLS ends there: settings at the root.</summary>
internal sealed class ProxyOptions : IValidatableObject
{
    /// <summary>
    /// Addresses, or networks such as <c>10.0.0.0/8</c>, of the proxies whose <c>X-Forwarded-For</c> and
    /// <c>X-Forwarded-Proto</c> headers are trusted; from other addresses they are ignored. Default: none, so that a
    /// program on the same machine is not trusted either.
    /// </summary>
    public string[] Proxies { get; set; } = [];

    /// <summary>
    /// True when a side-car or a TCP balancer ends TLS before this server and adds no header. Plain http then counts as TLS,
    /// from every address. Null: the setting is neither true nor false. Default: false.
    /// </summary>
    public bool? TlsTerminatedUpstream { get; set; } = false;

    public IEnumerable<ValidationResult> Validate(ValidationContext validationContext)
    {
        if (TlsTerminatedUpstream is null)
            yield return new($"{nameof(TlsTerminatedUpstream)} must be true or false.");
        for (var i = 0; i < Proxies.Length; i++)
        {
            if (!IsAddress(Proxies[i]) && !IPNetwork.TryParse(Proxies[i], out _))
                yield return new($"Proxies:{i} must be an IP address or a network such as 10.0.0.0/8.");
        }
    }

    // IPAddress.TryParse would accept "10" as 0.0.0.10.
    private static bool IsAddress(string value) =>
        IPAddress.TryParse(value, out _) && (value.Contains(':', StringComparison.Ordinal) || value.Count(c => c == '.') == 3);
}
