using Microsoft.Extensions.Options;
using Npgsql;
using TokenService.Caching;
using TokenService.Clients;
using TokenService.Postgres;
using TokenService.Protocol;
using TokenService.Tokens;

namespace TokenService.Revocation;

/// <summary>
/// What became of a token after it was issued: its client revoked it, all tokens of its client were revoked, or its client is not
/// what it was. The database is asked once whether a token was revoked; then the answer is cached, under the rules of
/// <see cref="DatabaseCache{TValue}"/>.
/// </summary>
internal sealed class TokenStatus : IDisposable
{
    private const int MaxTokens = 20_000; // about 200 bytes each

    // Of the connections of the pool, so that revocations leave some to everybody else.
    private const int MaxWrites = 16;

    private static readonly TimeSpan WriteTimeout = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan RetryAfterTooMany = TimeSpan.FromMinutes(1);

    private readonly AccessTokenValidator validator;
    private readonly ClientCache clients;
    private readonly RevocationStore store;
    private readonly TimeProvider clock;
    private readonly DatabaseCache<TokenState> states;
    private readonly SemaphoreSlim writeSlots = new(MaxWrites);

    public TokenStatus(
        AccessTokenValidator validator,
        ClientCache clients,
        RevocationStore store,
        ChangeNotifications notifications,
        IOptions<ClientCacheOptions> options,
        TimeProvider clock,
        ILogger<TokenStatus> logger)
    {
        (this.validator, this.clients, this.store, this.clock) = (validator, clients, store, clock);
        var cacheOptions = new CacheOptions("token", options.Value.ServeWhileAway, MaxTokens, MaxUnknown: 0);
        states = new DatabaseCache<TokenState>(cacheOptions, store.FindAsync, notifications, clock, logger);
    }

    /// <summary>Whether a token is good for an API that received it, by every check there is (RFC 7662 §4).</summary>
    /// <param name="jwt">Anything.</param>
    /// <param name="api">The client that asks, which speaks for resources.</param>
    /// <param name="ct">Ends the wait.</param>
    /// <exception cref="NpgsqlException">The database has to be asked, and is unavailable.</exception>
    public async ValueTask<TokenValidation> IntrospectAsync(string jwt, Client api, CancellationToken ct)
    {
        var validation = await validator.ValidateAsync(jwt, ct);
        return validation.Token is { } token ? validation with { Failure = await FailureAsync(token, api, ct) } : validation;
    }

    /// <summary>Revokes a token, if it is the client's own and has not expired (RFC 7009 §2.1).</summary>
    /// <returns>Refused with 503 when the client has revoked too many.</returns>
    /// <exception cref="NpgsqlException">The database is unavailable.</exception>
    public async ValueTask<Result<TokenValidation>> RevokeAsync(string jwt, Client client, CancellationToken ct)
    {
        var validation = await validator.ValidateAsync(jwt, ct);
        if (validation.Token is not { } token)
            return validation;
        if (token.ClientId != client.Id)
            return validation with { Failure = Reason.TokenOfAnotherClient };
        // Without ct: what the caller wanted is done even if it goes away.
        if (!await DatabaseGate.InTimeAsync(WriteTimeout, clock, timeout => AddAsync(token, timeout)))
            return OAuthError.TemporarilyUnavailable(Reason.TooManyRevocations, RetryAfterTooMany);
        states.Forget(token.Id);
        return validation;
    }

    public void Dispose()
    {
        states.Dispose();
        writeSlots.Dispose();
    }

    private async Task<bool> AddAsync(ValidatedToken token, CancellationToken ct)
    {
        await writeSlots.WaitAsync(ct);
        try
        {
            return await store.AddAsync(token, clock.GetUtcNow(), ct);
        }
        finally
        {
            writeSlots.Release();
        }
    }

    private async ValueTask<string?> FailureAsync(ValidatedToken token, Client api, CancellationToken ct)
    {
        if (!api.Resources.Any(resource => resource.Id == token.Audience))
            return Reason.TokenForAnotherResource;
        if (Failure(token, await clients.FindAsync(token.ClientId, ct)) is { } failure)
            return failure;
        return await states.FindAsync(token.Id, ct) is { IsRevoked: false } ? null : Reason.TokenRevoked;
    }

    // Because of what its client has become since.
    private static string? Failure(ValidatedToken token, Client? client)
    {
        if (client is not { IsEnabled: true })
            return Reason.TokenClientUnavailable;
        if (token.IssuedAt <= client.TokensNotBefore)
            return Reason.TokensOfClientRevoked;
        return token.Scope.Values.All(name => client.Scopes.Any(held => held.Name == name && held.Resource.Id == token.Audience))
            ? null
            : Reason.TokenScopeWithdrawn;
    }
}
