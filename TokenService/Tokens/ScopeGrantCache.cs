using System.Collections.Immutable;
using Microsoft.Extensions.Options;
using TokenService.Caching;
using TokenService.Clients;
using TokenService.Protocol;

namespace TokenService.Tokens;

/// <summary>
/// The grants of each client by the scope and resource it asked for, so that each is decided once. They hold as long as the client is
/// the same object, which is until the client cache reads it again.
/// </summary>
internal sealed class ScopeGrantCache(IOptions<ClientCacheOptions> options)
{
    // Clients repeat a few combinations. Further combinations are decided at each request and not kept.
    private const int MaxPerClient = 32;

    // By client_id, for as many clients as the client cache keeps.
    private readonly BoundedMap<string, Decided> known = new(options.Value.MaxClients);

    public Result<ScopeGrant> Decide(Client client, TokenRequest asked)
    {
        ImmutableArray<(TokenRequest Asked, ScopeGrant Grant)> grants =
            entries.TryGetValue(client.Id, out var entry) && ReferenceEquals(entry.Client, client) ? entry.Grants : [];
        foreach (var cached in grants)
        {
            if (cached.Asked == asked)
                return cached.Grant;
        }

        var result = DecideNow(client, asked);
        // When two requests do this at once, one of the two grants may be lost, and is decided once more.
        if (result.TryGet(out var grant, out _) && before.Length < MaxPerClient)
            known.Set(client.Id, new Decided(client, before.Add((asked, grant))));
        return result;
    }

    private static Result<ScopeGrant> DecideNow(Client client, TokenRequest asked)
    {
        if (asked.Scope is null)
            return ScopeGrant.Decide(client, asked: null, asked.Resource);
        return ScopeSet.Parse(asked.Scope).TryGet(out var scope, out var error)
            ? ScopeGrant.Decide(client, scope, asked.Resource)
            : error;
    }

    private sealed record Decided(Client Client, ImmutableArray<(TokenRequest Asked, ScopeGrant Grant)> Grants);
}
