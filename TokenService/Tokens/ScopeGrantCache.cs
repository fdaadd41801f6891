using System.Collections.Immutable;
using Microsoft.Extensions.Options;
using TokenService.Caching;
using TokenService.Clients;
using TokenService.Protocol;

namespace TokenService.Tokens;

/// <summary>
/// A cache of the grants that <see cref="ScopeGrant"/> decided, by client and by the scope and resource asked for. A
/// grant is valid while the client is the same object; <see cref="ClientCache"/> returns another object after it has
/// read the client again.
/// </summary>
internal sealed class ScopeGrantCache(IOptions<ClientCacheOptions> options)
{
    // Clients repeat a few combinations. Further combinations are decided at each request and not kept.
    private const int MaxPerClient = 32;

    // A scope may have 2,048 characters, and a hostile client spells it in many ways. Together its combinations have at
    // most this many.
    private const int MaxCharactersPerClient = 4096;

    // By client_id, for as many clients as ClientCache keeps.
    private readonly BoundedMap<string, Entry> entries = new(options.Value.MaxClients);

    public Result<ScopeGrant> Decide(Client client, TokenRequest asked)
    {
        ImmutableArray<(TokenRequest Asked, ScopeGrant Grant)> grants =
            entries.TryGetValue(client.Id, out var entry) && ReferenceEquals(entry.Client, client) ? entry.Grants : [];
        foreach (var cached in grants)
        {
            if (cached.Asked == asked)
                return cached.Grant;
        }

        var result = DecideUncached(client, asked);
        // If two requests of a client add a grant at the same moment, one of the two may be lost. It is decided again
        // later.
        if (result.TryGet(out var grant, out _)
            && grants.Length < MaxPerClient
            && grants.Sum(cached => LengthOf(cached.Asked)) + LengthOf(asked) <= MaxCharactersPerClient)
            entries.Set(client.Id, new Entry(client, grants.Add((asked, grant))));
        return result;
    }

    private static int LengthOf(TokenRequest asked) => (asked.Scope?.Length ?? 0) + (asked.Resource?.Length ?? 0);

    private static Result<ScopeGrant> DecideUncached(Client client, TokenRequest asked)
    {
        if (asked.Scope is null)
            return ScopeGrant.Decide(client, asked: null, asked.Resource);
        return ScopeSet.Parse(asked.Scope).TryGet(out var scope, out var error)
            ? ScopeGrant.Decide(client, scope, asked.Resource)
            : error;
    }

    private sealed record Entry(Client Client, ImmutableArray<(TokenRequest Asked, ScopeGrant Grant)> Grants);
}
