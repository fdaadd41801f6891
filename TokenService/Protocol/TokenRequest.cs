namespace TokenService.Protocol;

/// <summary>An access token request of the client credentials grant, RFC 6749 §4.4.2.</summary>
/// <param name="Scope">The scope parameter as it came; null when the request leaves it to the client's defaults.</param>
/// <param name="Resource">
/// The resource that the token is to be for: the parameter resource of RFC 8707 §2, or audience, as clients of Auth0 and
/// Hydra call it. Null when the request leaves it to the scope.
/// </param>
internal readonly record struct TokenRequest(string? Scope, string? Resource)
{
    public static Result<TokenRequest> Read(Form form)
    {
        switch (form["grant_type"])
        {
            case null:
                return OAuthError.ParameterMissing("grant_type");
            case not "client_credentials" and var other:
                return OAuthError.UnsupportedGrantType().HintingAtLineBreak(other);
        }

        var (resources, audience) = (form.Resources, form["audience"]);
        if (resources.FirstOrDefault(resource => !ResourceIndicator.IsAbsoluteUri(resource)) is { } malformed)
        {
            return OAuthError.InvalidTarget(
                Reason.ResourceMalformed, "A resource is an absolute URI without a fragment. Send a plain name as audience.")
                .HintingAtLineBreak(malformed);
        }

        if (audience is not null && !ResourceIndicator.IsUriOrName(audience))
        {
            return OAuthError.InvalidTarget(
                Reason.ResourceMalformed, "An audience is an absolute URI without a fragment, or a plain name.")
                .HintingAtLineBreak(audience);
        }

        // RFC 8707 §3: one API could use a token for several of them at another.
        if (resources.Distinct(StringComparer.Ordinal).Count() > 1)
            return OAuthError.InvalidTarget(Reason.SeveralResources, "A token is for one resource: ask for one at a time.");
        if (audience is not null && resources.Count > 0 && resources[0] != audience)
        {
            return OAuthError.InvalidTarget(
                Reason.SeveralResources, "The parameters resource and audience name different resources.");
        }

        return new TokenRequest(form["scope"], resources.Count > 0 ? resources[0] : audience);
    }
}
