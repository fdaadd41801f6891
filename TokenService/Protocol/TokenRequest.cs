namespace TokenService.Protocol;

/// <summary>An access token request of the client credentials grant, RFC 6749 §4.4.2.</summary>
/// <param name="Scope">The scope parameter as it came; null when the request leaves it to the client's defaults.</param>
/// <param name="Resource">The resource the token is to be for (RFC 8707 §2); null when the request leaves it to the scope.</param>
internal readonly record struct TokenRequest(string? Scope, string? Resource)
{
    public static Result<TokenRequest> Read(Form form)
    {
        switch (form["grant_type"])
        {
            case null:
                return OAuthError.ParameterMissing("grant_type");
            case not "client_credentials":
                return OAuthError.UnsupportedGrantType();
        }

        if (form.Resources.Count == 0)
            return new TokenRequest(form["scope"], Resource: null);
        if (!form.Resources.All(ResourceIndicator.IsWellFormed))
            return OAuthError.InvalidTarget(Reason.ResourceMalformed, "A resource is an absolute URI without a fragment.");
        // RFC 8707 §3: a token for several could be used by one of them at another.
        if (form.Resources.Distinct(StringComparer.Ordinal).Count() > 1)
            return OAuthError.InvalidTarget(Reason.SeveralResources, "A token is for one resource: ask for one at a time.");
        return new TokenRequest(form["scope"], form.Resources[0]);
    }
}
