using System.Buffers.Binary;
using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Examples;

/// <summary>
/// TLS at scripts/examples/aspnetcore-api with a certificate of each kind. The client's first message is written by
/// hand, because the libraries of the machine that runs the tests may not offer what should be refused.
/// </summary>
[TestFixture("RSA"), TestFixture("ECDSA"), Rfc(9325, "4.2"), Platform(Exclude = "Win")]
public sealed class AspNetCoreApiTls(string kind) : BoundTokenFixture
{
    private const int HandshakeFailure = 40; // RFC 5246 §7.2
    private const int ProtocolVersion = 70;

    private X509Certificate2 certificate = null!;
    private string file = null!;
    private ExampleApi api = null!;

    [OneTimeSetUp]
    public async Task StartApi()
    {
        certificate = Create(kind);
        file = Path.Combine(Path.GetTempPath(), $"{Guid.NewGuid()}.pfx");
        await File.WriteAllBytesAsync(file, certificate.Export(X509ContentType.Pfx));
        api = await ExampleApi.StartAsync(
            Server.Address.OriginalString, settings: ["--urls", "https://127.0.0.1:0", $"--Kestrel:Certificates:Default:Path={file}"]);
    }

    [OneTimeTearDown]
    public async Task StopApi()
    {
        await (api?.DisposeAsync() ?? ValueTask.CompletedTask);
        certificate?.Dispose();
        File.Delete(file);
    }

    [Test]
    public async Task TLS_1_2_and_1_3_are_offered([Values(SslProtocols.Tls12, SslProtocols.Tls13)] SslProtocols version)
    {
        using var client = new TcpClient(api.Address.Host, api.Address.Port);
        await using var tls = new SslStream(client.GetStream());

        await tls.AuthenticateAsClientAsync(new SslClientAuthenticationOptions
        {
            TargetHost = "localhost",
            EnabledSslProtocols = version,
            RemoteCertificateValidationCallback = (_, shown, _, _) => shown!.GetCertHashString() == certificate.Thumbprint,
        });

        Assert.That(tls.SslProtocol, Is.EqualTo(version));
    }

    [Test]
    public async Task A_request_by_TLS_is_answered()
    {
        using var handler = new SocketsHttpHandler();
        handler.SslOptions.RemoteCertificateValidationCallback = (_, shown, _, _) => shown!.GetCertHashString() == certificate.Thumbprint;
        using var client = new HttpClient(handler) { BaseAddress = api.Address };
        using var request = new HttpRequestMessage(HttpMethod.Get, "/invoices");
        request.Headers.TryAddWithoutValidation("Authorization", $"DPoP {Token}");
        request.Headers.Add(
            "DPoP", new ApiDpopProof(Key, new Uri(api.Address, "/invoices").OriginalString, Token, DateTimeOffset.UtcNow).Signed());

        using var response = await client.SendAsync(request);

        Assert.That((int)response.StatusCode, Is.EqualTo(200));
    }

    [Test]
    public async Task Older_versions_are_refused([Values(0x0301, 0x0302)] int version)
    {
        var answer = await HelloAsync(version, [.. Accepted(kind), .. Refused(kind)]);

        Assert.That(answer, Is.EqualTo(new Refusal(ProtocolVersion)));
    }

    [TestCaseSource(nameof(AcceptedCases))]
    public async Task A_suite_with_forward_secrecy_and_authenticated_encryption_is_accepted(int index)
    {
        var suite = Accepted(kind)[index];

        Assert.That(await HelloAsync(0x0303, [suite]), Is.EqualTo(new Choice(suite)));
    }

    [Test]
    public async Task Other_suites_are_refused()
    {
        using (Assert.EnterMultipleScope())
        {
            foreach (var suite in Refused(kind))
                Assert.That(await HelloAsync(0x0303, [suite]), Is.EqualTo(new Refusal(HandshakeFailure)), $"{suite}");
        }
    }

    internal static IEnumerable<int> AcceptedCases() => Enumerable.Range(0, 3);

    private static TlsCipherSuite[] Accepted(string kind) => kind == "RSA"
        ?
        [
            TlsCipherSuite.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
            TlsCipherSuite.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
            TlsCipherSuite.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        ]
        :
        [
            TlsCipherSuite.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
            TlsCipherSuite.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
            TlsCipherSuite.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        ];

    // All that use the certificate in some way.
    private static TlsCipherSuite[] Refused(string kind) =>
    [
        .. Enum.GetValues<TlsCipherSuite>().Where(suite => suite.ToString().Contains($"_{kind}_WITH", StringComparison.Ordinal))
            .Except(Accepted(kind)),
    ];

    private static X509Certificate2 Create(string kind)
    {
        using AsymmetricAlgorithm key = kind == "RSA" ? RSA.Create(2048) : ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = key is RSA rsa
            ? new CertificateRequest("CN=localhost", rsa, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1)
            : new CertificateRequest("CN=localhost", (ECDsa)key, HashAlgorithmName.SHA256);
        return request.CreateSelfSigned(DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddDays(1));
    }

    /// <summary>Sends a ClientHello (RFC 5246 §7.4.1.2) and reads the server's first message.</summary>
    private async Task<object> HelloAsync(int version, TlsCipherSuite[] suites)
    {
        byte[] extensions =
        [
            .. Extension(0x000a, [0, 4, 0x00, 0x1d, 0x00, 0x17]), // groups: x25519, P-256
            .. Extension(0x000b, [1, 0]), // points: uncompressed
            .. Extension(0x000d, [0, 14, 4, 3, 5, 3, 8, 4, 8, 5, 4, 1, 2, 1, 2, 3]), // signatures: ECDSA, RSA-PSS, RSA, with SHA-1 too
        ];
        byte[] hello =
        [
            .. Two(version), .. RandomNumberGenerator.GetBytes(32), 0,
            .. Two(suites.Length * 2), .. suites.SelectMany(one => Two((int)one)),
            1, 0, .. Two(extensions.Length), .. extensions,
        ];
        byte[] record = [22, 3, 1, .. Two(hello.Length + 4), 1, 0, .. Two(hello.Length), .. hello];

        using var client = new TcpClient(api.Address.Host, api.Address.Port);
        var stream = client.GetStream();
        await stream.WriteAsync(record);
        var header = new byte[5];
        await stream.ReadExactlyAsync(header);
        var message = new byte[BinaryPrimitives.ReadUInt16BigEndian(header.AsSpan(3))];
        await stream.ReadExactlyAsync(message);
        // A ServerHello: type, length, version, random bytes, session id, suite.
        return header[0] == 21
            ? new Refusal(message[1])
            : new Choice((TlsCipherSuite)BinaryPrimitives.ReadUInt16BigEndian(message.AsSpan(4 + 2 + 32 + 1 + message[38])));
    }

    private static byte[] Extension(int type, byte[] content) => [.. Two(type), .. Two(content.Length), .. content];

    private static byte[] Two(int value) => [(byte)(value >> 8), (byte)value];

    private sealed record Refusal(int Alert);

    private sealed record Choice(TlsCipherSuite Suite);
}
