using System.Collections.Concurrent;
using System.Runtime.CompilerServices;
using TokenService.Clients;
using TokenService.Protocol;

namespace TokenService.Tokens;

/// <summary>
/// What each client was entitled to before, by the scope it asked for, so that it is worked out once: for as long as the client is
/// the same object, which is until the database has something new to say of it.
/// </summary>
internal sealed class Entitlements
{
    // A client asks for a few combinations, again and again. One that asks for more is served all the same.
    private const int MostOfOneClient = 32;

    private const string Defaults = "";

    private readonly ConditionalWeakTable<Client, ConcurrentDictionary<string, Entitlement>> known = [];

    /// <param name="client">Who asks.</param>
    /// <param name="scope">The scope parameter as it came; null for the client's defaults.</param>
    public Result<Entitlement> Decide(Client client, string? scope)
    {
        var ofClient = known.GetValue(client, static _ => new(StringComparer.Ordinal));
        if (ofClient.TryGetValue(scope ?? Defaults, out var before))
            return before;

        var decided = Work(client, scope);
        if (!decided.Refused(out _, out var entitlement) && ofClient.Count < MostOfOneClient)
            ofClient[scope ?? Defaults] = entitlement;
        return decided;
    }

    private static Result<Entitlement> Work(Client client, string? scope)
    {
        if (scope is null)
            return Entitlement.Decide(client, asked: null);
        return ScopeSet.Parse(scope).Refused(out var error, out var asked) ? error : Entitlement.Decide(client, asked);
    }
}
