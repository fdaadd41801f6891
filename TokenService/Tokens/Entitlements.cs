using System.Collections.Concurrent;
using System.Runtime.CompilerServices;
using TokenService.Clients;
using TokenService.Protocol;

namespace TokenService.Tokens;

/// <summary>
/// What each client was entitled to before, by the scope and resource it asked for, so that it is worked out once: for as long as the client is
/// the same object, which is until the database has something new to say of it.
/// </summary>
internal sealed class Entitlements
{
    // A client asks for a few combinations, again and again. One that asks for more is served all the same.
    private const int MostOfOneClient = 32;

    private readonly ConditionalWeakTable<Client, ConcurrentDictionary<TokenRequest, Entitlement>> known = [];

    /// <param name="client">Who asks.</param>
    /// <param name="asked">For what, and where.</param>
    public Result<Entitlement> Decide(Client client, TokenRequest asked)
    {
        var ofClient = known.GetValue(client, static _ => []);
        if (ofClient.TryGetValue(asked, out var before))
            return before;

        var decided = Work(client, asked);
        if (!decided.Refused(out _, out var entitlement) && ofClient.Count < MostOfOneClient)
            ofClient[asked] = entitlement;
        return decided;
    }

    private static Result<Entitlement> Work(Client client, TokenRequest asked)
    {
        if (asked.Scope is null)
            return Entitlement.Decide(client, asked: null, asked.Resource);
        return ScopeSet.Parse(asked.Scope).Refused(out var error, out var scope) ? error : Entitlement.Decide(client, scope, asked.Resource);
    }
}
