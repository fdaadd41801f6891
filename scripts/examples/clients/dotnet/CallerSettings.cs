namespace Clients;

/// <param name="Method">client_secret_basic or client_secret_post; empty: the library's default.</param>
internal sealed record CallerSettings(string Issuer, string ClientId, string ClientSecret, string Scope, string Method)
{
    public static CallerSettings FromEnvironment() =>
        new(Get("ISSUER"), Get("CLIENT_ID"), Get("CLIENT_SECRET"), Get("SCOPE"), Get("METHOD"));

    private static string Get(string name) => Environment.GetEnvironmentVariable(name) ?? "";
}
