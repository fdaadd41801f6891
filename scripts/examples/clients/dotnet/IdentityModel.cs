using Duende.IdentityModel;
using Duende.IdentityModel.Client;

namespace Clients;

/// <summary>Duende.IdentityModel.</summary>
internal static class IdentityModel
{
    public static async Task<string> GetTokenAsync(CallerSettings settings)
    {
        using var http = new HttpClient();
        var discovery = await http.GetDiscoveryDocumentAsync(settings.Issuer);
        if (discovery.IsError)
            throw new InvalidOperationException(discovery.Error);

        using var request = new ClientCredentialsTokenRequest
        {
            Address = discovery.TokenEndpoint,
            ClientId = settings.ClientId,
            Scope = settings.Scope,
        };
        if (settings.Method == "private_key_jwt")
        {
            // Without the style, the client_id would go into Basic too.
            request.ClientCredentialStyle = ClientCredentialStyle.PostBody;
            request.ClientAssertion.Type = OidcConstants.ClientAssertionTypes.JwtBearer;
            request.ClientAssertion.Value = Assertion.Sign(settings, discovery.Issuer!);
        }
        else
        {
            request.ClientSecret = settings.ClientSecret;
        }

        if (settings.Method.StartsWith("client_secret", StringComparison.Ordinal))
        {
            request.ClientCredentialStyle = settings.Method == "client_secret_post"
                ? ClientCredentialStyle.PostBody
                : ClientCredentialStyle.AuthorizationHeader;
        }

        var response = await http.RequestClientCredentialsTokenAsync(request);
        return response.AccessToken ?? throw new InvalidOperationException(response.Error);
    }
}
