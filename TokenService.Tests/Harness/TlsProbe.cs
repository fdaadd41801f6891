using System.Buffers.Binary;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography;

namespace TokenService.Tests.Harness;

/// <summary>
/// Asks a listener what TLS it speaks. Where it should refuse, the first message is written by hand, because the libraries
/// of the machine that runs the tests may not offer what is to be refused.
/// </summary>
internal static class TlsProbe
{
    public const int Tls10 = 0x0301;
    public const int Tls11 = 0x0302;
    public const int Tls12 = 0x0303;

    // RFC 5246 §7.2.2.
    private const byte AlertRecord = 21;
    private const byte HandshakeRecord = 22;

    /// <summary>The suites of TLS 1.2 and earlier. Those of TLS 1.3 begin with 0x13 (RFC 8446 §B.4).</summary>
    public static IReadOnlyList<TlsCipherSuite> OlderSuites { get; } =
        [.. Enum.GetValues<TlsCipherSuite>().Where(suite => (int)suite >> 8 != 0x13)];

    /// <summary>Sends a ClientHello (RFC 5246 §7.4.1.2) and reads the listener's first message.</summary>
    /// <param name="address">The listener.</param>
    /// <param name="version">The highest version that the client offers.</param>
    /// <param name="suites">All suites that it offers.</param>
    public static async Task<TlsReply> OfferAsync(Uri address, int version, params IEnumerable<TlsCipherSuite> suites)
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(30));
        using var client = new TcpClient();
        await client.ConnectAsync(address.Host, address.Port, limit.Token);
        var stream = client.GetStream();
        await stream.WriteAsync(Hello(version, [.. suites]), limit.Token);

        var header = new byte[5];
        await stream.ReadExactlyAsync(header, limit.Token);
        var message = new byte[BinaryPrimitives.ReadUInt16BigEndian(header.AsSpan(3))];
        await stream.ReadExactlyAsync(message, limit.Token);
        // A ServerHello has type, length, version, 32 random bytes, the session id and the suite.
        return header[0] == AlertRecord
            ? new TlsReply(null, (TlsAlert)message[1])
            : new TlsReply((TlsCipherSuite)BinaryPrimitives.ReadUInt16BigEndian(message.AsSpan(39 + message[38])), null);
    }

    /// <summary>A whole handshake of one version with one suite, with .NET's own client.</summary>
    /// <returns>The version and the suite that were agreed on.</returns>
    public static async Task<(SslProtocols, TlsCipherSuite)> ConnectAsync(
        Uri address, TestCertificate certificate, SslProtocols version, TlsCipherSuite suite)
    {
        using var client = new TcpClient(address.Host, address.Port);
        await using var tls = new SslStream(client.GetStream());
        await tls.AuthenticateAsClientAsync(new SslClientAuthenticationOptions
        {
            TargetHost = "localhost",
            EnabledSslProtocols = version,
            CipherSuitesPolicy = OperatingSystem.IsLinux() || OperatingSystem.IsMacOS() ? new CipherSuitesPolicy([suite]) : null,
            RemoteCertificateValidationCallback = (_, shown, _, _) => certificate.Is(shown),
        });
        return (tls.SslProtocol, tls.NegotiatedCipherSuite);
    }

    private static byte[] Hello(int version, TlsCipherSuite[] suites)
    {
        byte[] extensions =
        [
            .. Extension(0x000a, [0, 6, 0x00, 0x1d, 0x00, 0x17, 0x00, 0x18]), // groups: X25519, P-256, P-384
            .. Extension(0x000b, [1, 0]), // points: uncompressed
            .. Extension(0x000d, [0, 14, 4, 3, 5, 3, 8, 4, 8, 5, 4, 1, 2, 1, 2, 3]), // signatures: ECDSA, RSA-PSS and RSA; SHA-1 too
        ];
        byte[] body =
        [
            .. Two(version), .. RandomNumberGenerator.GetBytes(32), 0,
            .. Two(suites.Length * 2), .. suites.SelectMany(suite => Two((int)suite)),
            1, 0, .. Two(extensions.Length), .. extensions,
        ];
        return [HandshakeRecord, 3, 1, .. Two(body.Length + 4), 1, 0, .. Two(body.Length), .. body];
    }

    private static byte[] Extension(int type, byte[] content) => [.. Two(type), .. Two(content.Length), .. content];

    private static byte[] Two(int value) => [(byte)(value >> 8), (byte)value];
}

/// <summary>What a listener says to an offer: the suite that it chose, or the alert with which it ends the handshake.</summary>
internal sealed record TlsReply(TlsCipherSuite? Chosen, TlsAlert? Alert);

/// <summary>RFC 5246 §7.2.2.</summary>
internal enum TlsAlert
{
    HandshakeFailure = 40,
    ProtocolVersion = 70,
}
