namespace TokenService.Commands;

/// <summary>What to say of a secret that form-encoding changes, since many clients do not form-encode it in HTTP Basic.</summary>
internal static class UnencodedBasic
{
    /// <summary>
    /// What the clients do that do not encode as RFC 6749 §2.3.1 asks; null: form-encoding leaves the secret alone, or the
    /// server reads its raw characters as they are meant.
    /// </summary>
    public static string? EffectOn(string secret) => secret.AsSpan().ContainsAny('+', '%')
        ? "curl -u, Apache HttpClient, requests-oauthlib, Authlib, ruby-oauth2, axios and librdkafka do not form-encode it for HTTP "
            + "Basic, and get 401"
        : null;
}
