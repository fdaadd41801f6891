using Microsoft.Extensions.Options;
using Npgsql;
using TokenService.Caching;
using TokenService.Clients;
using TokenService.Postgres;
using TokenService.Protocol;
using TokenService.Tokens;

namespace TokenService.Revocation;

/// <summary>
/// What became of a token after it was issued: revoked by its client, dead with all its client's, or its client not what it was. Whether it
/// was revoked is asked of the database once and then remembered, under the rules of <see cref="DatabaseCache{TValue}"/>.
/// </summary>
internal sealed class TokenStatus : IDisposable
{
    private const int MostTokens = 20_000; // about 200 bytes each

    // Of the connections of the pool, so that those who revoke leave some to everybody else.
    private const int MostWrites = 16;

    private static readonly TimeSpan WriteTimeout = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan RetryAfterTooMany = TimeSpan.FromMinutes(1);

    private readonly TokenReader reader;
    private readonly ClientCache clients;
    private readonly RevocationStore store;
    private readonly TimeProvider clock;
    private readonly DatabaseCache<TokenState> states;
    private readonly SemaphoreSlim mayWrite = new(MostWrites);

    public TokenStatus(
        TokenReader reader,
        ClientCache clients,
        RevocationStore store,
        Notifications notifications,
        IOptions<ClientCacheOptions> options,
        TimeProvider clock,
        ILogger<TokenStatus> logger)
    {
        (this.reader, this.clients, this.store, this.clock) = (reader, clients, store, clock);
        var remembering = new Remembering("token", options.Value.ServeWhileAway, MostTokens, MostUnknown: 0);
        states = new DatabaseCache<TokenState>(remembering, store.FindAsync, notifications, clock, logger);
    }

    /// <summary>Whether a token is good for an API that received it: all that can be checked of it is (RFC 7662 §4).</summary>
    /// <param name="jwt">Anything.</param>
    /// <param name="api">Who asks: a client that speaks for resources.</param>
    /// <param name="ct">Ends the wait.</param>
    /// <exception cref="NpgsqlException">The database has to be asked, and is away.</exception>
    public async ValueTask<Reading> IntrospectAsync(string jwt, Client api, CancellationToken ct)
    {
        var reading = await reader.ReadAsync(jwt, ct);
        return reading.Token is { } token ? reading with { Flaw = await FlawAsync(token, api, ct) } : reading;
    }

    /// <summary>Revokes a token, if it is one of the client's own that still lives (RFC 7009 §2.1).</summary>
    /// <returns>Refused: it could not be.</returns>
    /// <exception cref="NpgsqlException">The database is away.</exception>
    public async ValueTask<Result<Reading>> RevokeAsync(string jwt, Client client, CancellationToken ct)
    {
        var reading = await reader.ReadAsync(jwt, ct);
        if (reading.Token is not { } token)
            return reading;
        if (token.ClientId != client.Id)
            return reading with { Flaw = "it is another client's" };
        // When the caller goes away, too: what it wanted is done.
        if (!await DatabaseAway.AskAsync(WriteTimeout, clock, timeout => AddAsync(token, timeout)))
            return OAuthError.TemporarilyUnavailable("too many tokens of the client are revoked one by one", RetryAfterTooMany);
        states.Forget(token.Id);
        return reading;
    }

    public void Dispose()
    {
        states.Dispose();
        mayWrite.Dispose();
    }

    private async Task<bool> AddAsync(IssuedToken token, CancellationToken ct)
    {
        await mayWrite.WaitAsync(ct);
        try
        {
            return await store.AddAsync(token, clock.GetUtcNow(), ct);
        }
        finally
        {
            mayWrite.Release();
        }
    }

    private async ValueTask<string?> FlawAsync(IssuedToken token, Client api, CancellationToken ct)
    {
        if (!api.Resources.Any(resource => resource.Audience == token.Audience))
            return "it is for a resource that the caller does not speak for";
        if (Flaw(token, await clients.FindAsync(token.ClientId, ct)) is { } flaw)
            return flaw;
        return await states.FindAsync(token.Id, ct) is { IsRevoked: false } ? null : "its client revoked it";
    }

    // What its client has become since.
    private static string? Flaw(IssuedToken token, Client? client)
    {
        if (client is not { IsEnabled: true })
            return "its client is gone or disabled";
        if (token.IssuedAt <= client.TokensNotBefore)
            return "all tokens of its client up to a later instant were revoked";
        return token.Scope.Values.All(name => client.Scopes.Any(held => held.Name == name && held.Resource.Audience == token.Audience))
            ? null
            : "its client does not hold one of its scopes any more";
    }
}
