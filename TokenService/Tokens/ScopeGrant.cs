using TokenService.Clients;
using TokenService.Protocol;

namespace TokenService.Tokens;

/// <summary>What a token will say its bearer may do, and where. Pure.</summary>
/// <param name="Scope">The scopes granted: all that were asked for, or the client's defaults.</param>
/// <param name="Resource">What they all belong to (RFC 9068 §3).</param>
internal sealed record ScopeGrant(ScopeSet Scope, Resource Resource)
{
    /// <summary>Grants what was asked, all of it, or refuses: nothing is narrowed silently (RFC 6749 §3.3).</summary>
    /// <param name="client">Who asks.</param>
    /// <param name="asked">For what; null for the client's defaults.</param>
    /// <param name="resource">Where (RFC 8707 §2); null: where the scopes belong.</param>
    public static Result<ScopeGrant> Decide(Client client, ScopeSet? asked, string? resource = null)
    {
        var there = resource is null ? client.Scopes : [.. client.Scopes.Where(scope => scope.Resource.Audience == resource)];
        // An unknown resource and one where the client holds nothing look the same, so that nobody can list the resources of others.
        if (there.Count == 0 && resource is not null)
            return OAuthError.InvalidTarget(Reason.ResourceNotHeld, "The resource is unknown or not one of this client's.");

        var where = resource is null ? "" : " there";
        var held = asked is null
            ? there.Where(scope => scope.IsDefault).ToList()
            : there.Where(scope => asked.Values.Contains(scope.Name, StringComparer.Ordinal)).ToList();
        if (asked is null && held.Count == 0)
            return OAuthError.InvalidScope(Reason.NoDefaultScopes, $"This client has no default scopes{where}: name the scopes you want.");
        // An unknown scope and one the client does not hold look the same, as above.
        if (asked is not null && held.Count < asked.Values.Count)
            return OAuthError.InvalidScope(Reason.ScopeNotHeld, $"A scope is unknown or not held by this client{where}.");

        // RFC 9068 §3: scopes that belong to different resources would be confused in one token.
        if (held.Select(scope => scope.Resource).Distinct().ToList() is not [var only])
            return OAuthError.InvalidScope(Reason.ScopesOfSeveralResources, "The scopes belong to different resources: ask for those of one.");

        // Of a request's it is known; of the defaults' it is not, and what reads tokens goes by it.
        var scope = ScopeSet.Of(held.Select(scope => scope.Name));
        return scope.ToString().Length <= ScopeSet.MaxLength
            ? new ScopeGrant(scope, only)
            : OAuthError.InvalidScope(
                Reason.DefaultScopesTooLong, "This client's default scopes are too long for a token: name the scopes you want.");
    }
}
