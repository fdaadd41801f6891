// dotnet Clients.dll LIBRARY: gets a token with one of the libraries, and prints it.

using Clients;

Func<CallerSettings, Task<string>> getToken = args switch
{
    ["MSAL.NET"] => Msal.GetTokenAsync,
    ["Duende.IdentityModel"] => IdentityModel.GetTokenAsync,
    ["OpenIddict.Client"] => OpenIddictClient.GetTokenAsync,
    ["librdkafka"] => Kafka.GetTokenAsync,
    _ => throw new ArgumentException("Name a library."),
};
Console.WriteLine(await getToken(CallerSettings.FromEnvironment()));
