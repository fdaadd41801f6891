namespace TokenService.Protocol;

/// <summary>An access token request of the client credentials grant, RFC 6749 §4.4.2.</summary>
/// <param name="Scope">The scope parameter as it came; null when the request leaves it to the client's defaults.</param>
internal sealed record TokenRequest(string? Scope)
{
    public static Result<TokenRequest> Read(Form form)
    {
        switch (form["grant_type"])
        {
            case null:
                return OAuthError.InvalidRequest("The parameter grant_type is missing.");
            case not "client_credentials":
                return OAuthError.UnsupportedGrantType();
        }

        return new TokenRequest(form["scope"]);
    }
}
