using System.Net.Security;
using System.Security.Authentication;
using Microsoft.AspNetCore.Server.Kestrel.Https;

namespace TokenService.Endpoints;

/// <summary>
/// The TLS of every listener: version 1.2 or 1.3, with forward secrecy and authenticated encryption (RFC 9325 §4.2, FAPI
/// 2.0 §5.2.2). By default OpenSSL also accepts CBC with TLS 1.2. On Windows the machine's policy decides instead.
/// </summary>
internal static class CipherSuites
{
    private static readonly TlsCipherSuite[] Allowed =
    [
        TlsCipherSuite.TLS_AES_256_GCM_SHA384,
        TlsCipherSuite.TLS_CHACHA20_POLY1305_SHA256,
        TlsCipherSuite.TLS_AES_128_GCM_SHA256,
        TlsCipherSuite.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        TlsCipherSuite.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        TlsCipherSuite.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        TlsCipherSuite.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        TlsCipherSuite.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        TlsCipherSuite.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    ];

    // Null on Windows, where .NET has no such policy.
    private static readonly CipherSuitesPolicy? Policy = OperatingSystem.IsWindows() ? null : NewPolicy();

    /// <summary>Runs for each listener before the operator's own settings of it.</summary>
    public static void Limit(HttpsConnectionAdapterOptions https)
    {
        https.SslProtocols = SslProtocols.Tls12 | SslProtocols.Tls13;
        https.OnAuthenticate = static (_, tls) => tls.CipherSuitesPolicy = Policy;
    }

    [System.Runtime.Versioning.UnsupportedOSPlatform("windows")]
    private static CipherSuitesPolicy NewPolicy() => new(Allowed);
}
