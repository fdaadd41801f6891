using Microsoft.Extensions.DependencyInjection;
using OpenIddict.Client;

namespace Clients;

/// <summary>OpenIddict's client. It chooses the method among those that the metadata advertises.</summary>
internal static class OpenIddictClient
{
    public static async Task<string> GetTokenAsync(CallerSettings settings)
    {
        var registration = new OpenIddictClientRegistration
        {
            Issuer = new Uri(settings.Issuer),
            ClientId = settings.ClientId,
            ClientSecret = settings.ClientSecret,
        };
        if (settings.Method != "")
            registration.ClientAuthenticationMethods.Add(settings.Method);

        var services = new ServiceCollection();
        services.AddOpenIddict().AddClient(options =>
        {
            options.AllowClientCredentialsFlow();
            options.DisableTokenStorage();
            options.UseSystemNetHttp();
            options.AddRegistration(registration);
        });

        await using var provider = services.BuildServiceProvider();
        var client = provider.GetRequiredService<OpenIddictClientService>();
        var result = await client.AuthenticateWithClientCredentialsAsync(
            new() { Scopes = [.. settings.Scope.Split(' ')] });
        return result.AccessToken;
    }
}
