namespace TokenService.Protocol;

/// <summary>An access token request of the client credentials grant, RFC 6749 §4.4.2.</summary>
/// <param name="Scope">The scope asked for; null when the request leaves it to the client's defaults.</param>
internal sealed record TokenRequest(ScopeSet? Scope)
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

        if (form["scope"] is not { } scope)
            return new TokenRequest(Scope: null);

        return ScopeSet.Parse(scope).Refused(out var error, out var asked) ? error : new TokenRequest(asked);
    }
}
