namespace Clients;

/// <param name="Method">A method of authentication; empty: the library's default.</param>
/// <param name="KeyFile">The client's private key as a JWK, for private_key_jwt.</param>
/// <param name="Audience">The aud of assertions; empty: the library's default.</param>
internal sealed record CallerSettings(
    string Issuer, string ClientId, string ClientSecret, string Scope, string Method, string KeyFile, string Audience)
{
    public static CallerSettings FromEnvironment() =>
        new(Get("ISSUER"), Get("CLIENT_ID"), Get("CLIENT_SECRET"), Get("SCOPE"), Get("METHOD"), Get("CLIENT_KEY"), Get("AUD"));

    private static string Get(string name) => Environment.GetEnvironmentVariable(name) ?? "";
}
