using System.Collections.Concurrent;
using System.Collections.Immutable;
using Microsoft.Extensions.Options;
using TokenService.Clients;
using TokenService.Protocol;

namespace TokenService.Tokens;

/// <summary>
/// What each client was entitled to before, by the scope and resource it asked for, so that it is worked out once: for as long as the client is
/// the same object, which is until the database has something new to say of it.
/// </summary>
internal sealed class Entitlements(IOptions<ClientCacheOptions> options)
{
    // A client asks for a few combinations, again and again. One that asks for more is served all the same.
    private const int MostOfOneClient = 32;

    // As many as clients are kept in memory: of one that is read anew nothing need be known.
    private readonly int mostClients = options.Value.MostClients;

    // By client_id.
    private readonly ConcurrentDictionary<string, Decided> known = new(StringComparer.Ordinal);

    /// <param name="client">Who asks.</param>
    /// <param name="asked">For what, and where.</param>
    public Result<Entitlement> Decide(Client client, TokenRequest asked)
    {
        ImmutableArray<(TokenRequest Asked, Entitlement Entitlement)> before =
            known.TryGetValue(client.Id, out var decided) && ReferenceEquals(decided.Client, client) ? decided.Entitlements : [];
        foreach (var one in before)
        {
            if (one.Asked == asked)
                return one.Entitlement;
        }

        var result = Work(client, asked);
        // Of two that do so at once one may be lost, and is worked out once more.
        if (!result.Refused(out _, out var entitlement) && before.Length < MostOfOneClient)
            Keep(new Decided(client, before.Add((asked, entitlement))));
        return result;
    }

    private void Keep(Decided decided)
    {
        known[decided.Client.Id] = decided;
        if (known.Count <= mostClients)
            return;

        // Any will do.
        foreach (var other in known.Take(mostClients / 8))
            known.TryRemove(other);
    }

    private static Result<Entitlement> Work(Client client, TokenRequest asked)
    {
        if (asked.Scope is null)
            return Entitlement.Decide(client, asked: null, asked.Resource);
        return ScopeSet.Parse(asked.Scope).Refused(out var error, out var scope) ? error : Entitlement.Decide(client, scope, asked.Resource);
    }

    /// <param name="Client">As it was then.</param>
    /// <param name="Entitlements">By what it asked for.</param>
    private sealed record Decided(Client Client, ImmutableArray<(TokenRequest Asked, Entitlement Entitlement)> Entitlements);
}
