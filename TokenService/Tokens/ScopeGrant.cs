using TokenService.Clients;
using TokenService.Protocol;

namespace TokenService.Tokens;

/// <summary>The scopes and the resource of a token to be issued. Pure.</summary>
/// <param name="Scope">The scopes granted: all that were asked for, or the client's defaults.</param>
/// <param name="Resource">The one resource to which they all belong (RFC 9068 §3).</param>
internal sealed record ScopeGrant(ScopeSet Scope, Resource Resource)
{
    /// <summary>Grants what was asked, all of it, or refuses: nothing is narrowed silently (RFC 6749 §3.3).</summary>
    /// <param name="client">The client that asks.</param>
    /// <param name="asked">The scopes it asks for; null for its defaults.</param>
    /// <param name="resource">
    /// The resource it names (RFC 8707 §2). Null: the one to which the scopes belong, each of which it must then hold at one
    /// resource only.
    /// </param>
    public static Result<ScopeGrant> Decide(Client client, ScopeSet? asked, string? resource = null)
    {
        var there = resource is null ? client.Scopes : [.. client.Scopes.Where(scope => scope.Resource.Id == resource)];
        // An unknown resource and one where the client holds nothing look the same, so that nobody can list the resources of others.
        if (there.Count == 0 && resource is not null)
            return NotHeld(client, resource);

        var where = resource is null ? "" : " there";
        if (!(asked is null ? Defaults(there, where) : Held(there, asked, where)).TryGet(out var held, out var error))
            return error;

        // RFC 9068 §3: scopes that belong to different resources would be confused in one token.
        if (held.Select(scope => scope.Resource).Distinct().ToList() is not [var only])
        {
            return OAuthError.InvalidScope(
                Reason.ScopesOfSeveralResources,
                "The scopes belong to different resources: ask for those of one, or name it as resource or audience.");
        }

        // A request's scopes were measured before; the defaults were not, and the readers of tokens rely on the limit.
        var scope = ScopeSet.Of(held.Select(scope => scope.Name));
        return scope.ToString().Length <= ScopeSet.MaxLength
            ? new ScopeGrant(scope, only)
            : OAuthError.InvalidScope(
                Reason.DefaultScopesTooLong, "This client's default scopes are too long for a token: name the scopes you want.");
    }

    // Libraries that parse an address and print it again add a slash: new URL(x).href. RFC 8707 compares the characters.
    private static OAuthError NotHeld(Client client, string resource)
    {
        var meant = client.Scopes.Select(scope => scope.Resource.Id)
            .FirstOrDefault(id => id == resource + "/" || id + "/" == resource);
        var hint = meant is null ? "" : $" The slash at its end counts: this client has {meant}";
        return OAuthError.InvalidTarget(Reason.ResourceNotHeld, $"The resource is unknown or not one of this client's.{hint}");
    }

    private static Result<List<HeldScope>> Defaults(IReadOnlyList<HeldScope> there, string where)
    {
        var defaults = there.Where(scope => scope.IsDefault).ToList();
        return defaults.Count > 0
            ? defaults
            : OAuthError.InvalidScope(
                Reason.NoDefaultScopes, $"This client has no default scopes{where}: name the scopes you want.");
    }

    private static Result<List<HeldScope>> Held(IReadOnlyList<HeldScope> there, ScopeSet asked, string where)
    {
        var held = there.Where(scope => asked.Values.Contains(scope.Name, StringComparer.Ordinal)).ToList();
        var names = held.Select(scope => scope.Name).Distinct(StringComparer.Ordinal).Count();
        // An unknown scope and one the client does not hold look the same, as above.
        if (names < asked.Values.Count)
        {
            var hint = asked.Values.Any(name => name.Contains(',')) ? " Spaces separate scopes, not commas." : "";
            return OAuthError.InvalidScope(
                Reason.ScopeNotHeld, $"A scope is unknown or not held by this client{where}.{hint}");
        }

        // Guessing the resource from the other scopes would go wrong as soon as a grant changes.
        if (names < held.Count)
        {
            return OAuthError.InvalidTarget(
                Reason.ScopeAmbiguous,
                "This client holds a scope of that name at several resources: name one as resource or audience too.");
        }

        return held;
    }
}
