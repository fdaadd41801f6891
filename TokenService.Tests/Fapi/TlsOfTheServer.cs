using System.Net.Security;
using System.Security.Authentication;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Fapi;

/// <summary>
/// FAPI 2.0 §5.2.2 and RFC 9325 §4.2, which the suite probes at the token endpoint, with a certificate of each kind. It
/// offers the suites one by one.
/// </summary>
[TestFixture("RSA"), TestFixture("ECDSA"), FapiModule("ensure-holder-of-key-required"), Rfc(9325, "4.2"), Platform(Exclude = "Win")]
public sealed class TlsOfTheServer(string kind) : FapiFixture
{
    private static readonly TlsCipherSuite[] Allowed =
    [
        TlsCipherSuite.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        TlsCipherSuite.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        TlsCipherSuite.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        TlsCipherSuite.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        TlsCipherSuite.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        TlsCipherSuite.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ];

    private protected override string CertificateKind => kind;

    private TlsCipherSuite[] OfThisCertificate =>
        [.. Allowed.Where(suite => suite.ToString().Contains($"_{kind}_", StringComparison.Ordinal))];

    [Test, Rfc(9325, "3.1.1")]
    public async Task TLS_1_0_and_1_1_are_refused([Values(TlsProbe.Tls10, TlsProbe.Tls11)] int version) => Assert.That(
        await TlsProbe.OfferAsync(Server.Address, version, TlsProbe.OlderSuites),
        Is.EqualTo(new TlsReply(null, TlsAlert.ProtocolVersion)));

    [Test]
    public async Task TLS_1_2_is_accepted_with_forward_secrecy_and_authenticated_encryption_and_with_nothing_else()
    {
        using (Assert.EnterMultipleScope())
        {
            foreach (var suite in TlsProbe.OlderSuites)
            {
                var expected = OfThisCertificate.Contains(suite)
                    ? new TlsReply(suite, null)
                    : new TlsReply(null, TlsAlert.HandshakeFailure);
                Assert.That(await TlsProbe.OfferAsync(Server.Address, TlsProbe.Tls12, suite), Is.EqualTo(expected), $"{suite}");
            }
        }
    }

    [Test]
    public async Task Old_suites_are_refused_together_too() => Assert.That(
        await TlsProbe.OfferAsync(Server.Address, TlsProbe.Tls12, TlsProbe.OlderSuites.Except(OfThisCertificate)),
        Is.EqualTo(new TlsReply(null, TlsAlert.HandshakeFailure)));

    [Test]
    public async Task A_handshake_of_TLS_1_2_succeeds_with_each_allowed_suite()
    {
        Assert.That(OfThisCertificate, Has.Length.EqualTo(3));
        foreach (var suite in OfThisCertificate)
        {
            Assert.That(
                await TlsProbe.ConnectAsync(Server.Address, Certificate, SslProtocols.Tls12, suite),
                Is.EqualTo((SslProtocols.Tls12, suite)));
        }
    }

    [Test]
    public async Task A_handshake_of_TLS_1_3_succeeds_with_each_of_its_suites(
        [Values(
            TlsCipherSuite.TLS_AES_128_GCM_SHA256, TlsCipherSuite.TLS_AES_256_GCM_SHA384,
            TlsCipherSuite.TLS_CHACHA20_POLY1305_SHA256)] TlsCipherSuite suite) => Assert.That(
        await TlsProbe.ConnectAsync(Server.Address, Certificate, SslProtocols.Tls13, suite), Is.EqualTo((SslProtocols.Tls13, suite)));
}
