using Microsoft.Identity.Client;

namespace Clients;

/// <summary>MSAL.NET. It sends the secret in the body.</summary>
internal static class Msal
{
    public static async Task<string> GetTokenAsync(CallerSettings settings)
    {
        var application = ConfidentialClientApplicationBuilder.Create(settings.ClientId)
            .WithClientSecret(settings.ClientSecret)
            .WithOidcAuthority(settings.Issuer)
            .Build();
        var result = await application.AcquireTokenForClient(settings.Scope.Split(' ')).ExecuteAsync();
        return result.AccessToken;
    }
}
