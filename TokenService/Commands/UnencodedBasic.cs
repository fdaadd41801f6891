namespace TokenService.Commands;

/// <summary>Warns of secrets that form-encoding changes: many clients do not form-encode them in HTTP Basic.</summary>
internal static class UnencodedBasic
{
    /// <summary>
    /// Names the clients that do not encode the secret as RFC 6749 §2.3.1 asks, and what happens to them. Null: form-encoding
    /// leaves the secret alone, or the server reads its raw characters as they are meant.
    /// </summary>
    public static string? EffectOn(string secret) => secret.AsSpan().ContainsAny('+', '%')
        ? "curl -u, Apache HttpClient, requests-oauthlib, Authlib, ruby-oauth2, axios and librdkafka do not form-encode it for HTTP "
            + "Basic, and get 401"
        : null;
}
