using TokenService.Clients;
using TokenService.Protocol;

namespace TokenService.Tokens;

/// <summary>What a token will say its bearer may do, and where. Pure.</summary>
/// <param name="Scope">The scopes granted: all that were asked for, or the client's defaults.</param>
/// <param name="Audience">The one resource they belong to (RFC 9068 §3).</param>
/// <param name="SigningAlgorithm">What that resource wants its tokens signed with; null for the server's default.</param>
internal sealed record Entitlement(ScopeSet Scope, string Audience, string? SigningAlgorithm)
{
    /// <summary>Grants what was asked, all of it, or refuses: nothing is narrowed silently (RFC 6749 §3.3).</summary>
    /// <param name="client">Who asks.</param>
    /// <param name="asked">For what; null for the client's defaults.</param>
    public static Result<Entitlement> Decide(Client client, ScopeSet? asked)
    {
        var held = asked is null
            ? [.. client.Scopes.Where(scope => scope.IsDefault)]
            : client.Scopes.Where(scope => asked.Values.Contains(scope.Name, StringComparer.Ordinal)).ToList();

        if (asked is null && held.Count == 0)
            return OAuthError.InvalidScope("This client has no default scopes: name the scopes you want.");
        // An unknown scope and one the client does not hold look the same, so that nobody can list the scopes of others.
        if (asked is not null && held.Count < asked.Values.Count)
            return OAuthError.InvalidScope("A scope is unknown or not held by this client.");

        var audiences = held.Select(scope => scope.Audience).Distinct(StringComparer.Ordinal).ToList();
        // RFC 9068 §3: scopes that belong to different resources would be confused in one token.
        if (audiences is not [var audience])
            return OAuthError.InvalidScope("The scopes belong to different resources: ask for those of one.");

        return new Entitlement(ScopeSet.Of(held.Select(scope => scope.Name)), audience, held[0].SigningAlgorithm);
    }
}
