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
internal sealed class ScopeGrantCache(IOptions<ClientCacheOptions> options)
{
    // A client asks for a few combinations, again and again. One that asks for more is served all the same.
    private const int MaxPerClient = 32;

    // As many as clients are kept in memory: of one that is read anew nothing need be known.
    private readonly int maxClients = options.Value.MaxClients;

    // By client_id.
    private readonly ConcurrentDictionary<string, Decided> known = new(StringComparer.Ordinal);

    /// <param name="client">Who asks.</param>
    /// <param name="asked">For what, and where.</param>
    public Result<ScopeGrant> Decide(Client client, TokenRequest asked)
    {
        ImmutableArray<(TokenRequest Asked, ScopeGrant Grant)> before =
            known.TryGetValue(client.Id, out var decided) && ReferenceEquals(decided.Client, client) ? decided.Grants : [];
        foreach (var one in before)
        {
            if (one.Asked == asked)
                return one.Grant;
        }

        var result = Work(client, asked);
        // Of two that do so at once one may be lost, and is worked out once more.
        if (result.TryGet(out var grant, out _) && before.Length < MaxPerClient)
            Keep(new Decided(client, before.Add((asked, grant))));
        return result;
    }

    private void Keep(Decided decided)
    {
        known[decided.Client.Id] = decided;
        if (known.Count <= maxClients)
            return;

        // Any will do.
        foreach (var other in known.Take(maxClients / 8))
            known.TryRemove(other);
    }

    private static Result<ScopeGrant> Work(Client client, TokenRequest asked)
    {
        if (asked.Scope is null)
            return ScopeGrant.Decide(client, asked: null, asked.Resource);
        return ScopeSet.Parse(asked.Scope).TryGet(out var scope, out var error) ? ScopeGrant.Decide(client, scope, asked.Resource) : error;
    }

    /// <param name="Client">As it was then.</param>
    /// <param name="Grants">By what it asked for.</param>
    private sealed record Decided(Client Client, ImmutableArray<(TokenRequest Asked, ScopeGrant Grant)> Grants);
}
