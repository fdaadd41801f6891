using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Microsoft.Identity.Client;
using Microsoft.IdentityModel.Tokens;

namespace Clients;

/// <summary>
/// MSAL.NET. It sends the secret in the body. With a certificate it signs assertions itself, which no TokenService accepts:
/// the aud is the address of the token endpoint, and nbf and exp are text. So its user makes the assertion.
/// </summary>
internal static class Msal
{
    public static async Task<string> GetTokenAsync(CallerSettings settings)
    {
        using var certificate = settings is { Method: "private_key_jwt", Audience: "" } ? CertificateOf(settings) : null;
        var builder = ConfidentialClientApplicationBuilder.Create(settings.ClientId).WithOidcAuthority(settings.Issuer);
        builder = certificate is not null ? builder.WithCertificate(certificate)
            : settings.Method == "private_key_jwt" ? builder.WithClientAssertion(AssertionAsync)
            : builder.WithClientSecret(settings.ClientSecret);
        var application = builder.Build();
        var result = await application.AcquireTokenForClient(settings.Scope.Split(' ')).ExecuteAsync();
        return result.AccessToken;

        Task<string> AssertionAsync(AssertionRequestOptions options) => Task.FromResult(Assertion.Sign(settings, settings.Audience));
    }

    private static X509Certificate2 CertificateOf(CallerSettings settings)
    {
        var key = new JsonWebKey(File.ReadAllText(settings.KeyFile));
        using var pair = RSA.Create(new RSAParameters
        {
            Modulus = Base64UrlEncoder.DecodeBytes(key.N),
            Exponent = Base64UrlEncoder.DecodeBytes(key.E),
            D = Base64UrlEncoder.DecodeBytes(key.D),
            P = Base64UrlEncoder.DecodeBytes(key.P),
            Q = Base64UrlEncoder.DecodeBytes(key.Q),
            DP = Base64UrlEncoder.DecodeBytes(key.DP),
            DQ = Base64UrlEncoder.DecodeBytes(key.DQ),
            InverseQ = Base64UrlEncoder.DecodeBytes(key.QI),
        });
        var request = new CertificateRequest("CN=client", pair, HashAlgorithmName.SHA256, RSASignaturePadding.Pss);
        return request.CreateSelfSigned(DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddDays(1));
    }
}
