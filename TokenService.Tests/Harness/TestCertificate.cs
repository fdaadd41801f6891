using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace TokenService.Tests.Harness;

/// <summary>
/// A certificate for 127.0.0.1 and localhost, which signs itself, and its files for as long as a test needs them.
/// </summary>
internal sealed class TestCertificate : IDisposable
{
    private readonly X509Certificate2 certificate;

    private TestCertificate(X509Certificate2 certificate)
    {
        this.certificate = certificate;
        File.WriteAllBytes(Path, certificate.Export(X509ContentType.Pkcs12));
        File.WriteAllText(PublicPath, certificate.ExportCertificatePem());
    }

    /// <summary>The certificate and its private key, as PKCS #12 without a password.</summary>
    public string Path { get; } = NewPath("pfx");

    /// <summary>The certificate alone, as PEM.</summary>
    public string PublicPath { get; } = NewPath("pem");

    /// <param name="kind">RSA or ECDSA.</param>
    public static TestCertificate Create(string kind = "ECDSA")
    {
        using AsymmetricAlgorithm key = kind == "RSA" ? RSA.Create(2048) : ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = key is RSA rsa
            ? new CertificateRequest("CN=localhost", rsa, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1)
            : new CertificateRequest("CN=localhost", (ECDsa)key, HashAlgorithmName.SHA256);
        var names = new SubjectAlternativeNameBuilder();
        names.AddIpAddress(IPAddress.Loopback);
        names.AddDnsName("localhost");
        request.CertificateExtensions.Add(names.Build());
        return new TestCertificate(request.CreateSelfSigned(DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddDays(1)));
    }

    /// <summary>True when a server shows this certificate.</summary>
    public bool Is(X509Certificate? shown) => shown?.GetCertHashString() == certificate.Thumbprint;

    /// <summary>A handler that believes this certificate and no other.</summary>
    public SocketsHttpHandler NewHandler()
    {
        var handler = new SocketsHttpHandler { AllowAutoRedirect = false };
        handler.SslOptions.RemoteCertificateValidationCallback = (_, shown, _, _) => Is(shown);
        return handler;
    }

    public void Dispose()
    {
        certificate.Dispose();
        File.Delete(Path);
        File.Delete(PublicPath);
    }

    private static string NewPath(string extension) =>
        System.IO.Path.Combine(System.IO.Path.GetTempPath(), $"{Guid.NewGuid():N}.{extension}");
}
