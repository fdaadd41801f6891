using Microsoft.Extensions.Options;
using Npgsql;
using TokenService.Caching;
using TokenService.Clients;
using TokenService.Configuration;
using TokenService.Postgres;
using TokenService.Protocol;
using TokenService.Tokens;

namespace TokenService.Revocation;

/// <summary>
/// The status of an issued token. A token is no longer valid when its client revoked it, when all tokens of its client
/// were revoked, or when its client was deleted, was disabled or lost a scope that the token contains. The database is
/// queried once for each token; then the answer is cached, under the rules of <see cref="DatabaseCache{TValue}"/>.
/// </summary>
internal sealed class TokenStatus : IDisposable
{
    private const int MaxTokens = 20_000; // about 200 bytes each

    // Connections that revocations may use at the same time, so that they leave some of the pool for other work.
    private const int MaxWrites = 16;

    private static readonly TimeSpan WriteTimeout = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan RetryAfterTooMany = TimeSpan.FromMinutes(1);

    private readonly AccessTokenValidator validator;
    private readonly ClientCache clients;
    private readonly ServerProfile profile;
    private readonly RevocationStore store;
    private readonly TimeProvider clock;
    private readonly DatabaseCache<TokenState> states;
    private readonly SemaphoreSlim writeSlots = new(MaxWrites);

    public TokenStatus(
        AccessTokenValidator validator,
        ClientCache clients,
        ServerProfile profile,
        RevocationStore store,
        ChangeNotifications notifications,
        IOptions<ClientCacheOptions> options,
        TimeProvider clock,
        ILogger<TokenStatus> logger)
    {
        (this.validator, this.clients, this.profile, this.store, this.clock) = (validator, clients, profile, store, clock);
        var cacheOptions = new CacheOptions("token", options.Value.ServeWhileAway, MaxTokens, MaxUnknown: 0);
        states = new DatabaseCache<TokenState>(cacheOptions, store.FindAsync, notifications, clock, logger);
    }

    /// <summary>Checks in every respect whether a token is valid for the API that received it (RFC 7662 §4).</summary>
    /// <param name="jwt">Any string; it need not be a token.</param>
    /// <param name="api">The client that introspects. Its resources are those it may introspect tokens for.</param>
    /// <param name="ct">Ends the wait for the database.</param>
    /// <exception cref="NpgsqlException">A query is necessary, and the database is unavailable.</exception>
    public async ValueTask<TokenValidation> IntrospectAsync(string jwt, Client api, CancellationToken ct)
    {
        var validation = await validator.ValidateAsync(jwt, ct);
        return validation.Token is { } token ? validation with { Failure = await FailureAsync(token, api, ct) } : validation;
    }

    /// <summary>Revokes a token, if it is the client's own and has not expired (RFC 7009 §2.1).</summary>
    /// <returns>Refused with 503 when the client has revoked too many tokens.</returns>
    /// <exception cref="NpgsqlException">The database is unavailable.</exception>
    public async ValueTask<Result<TokenValidation>> RevokeAsync(string jwt, Client client, CancellationToken ct)
    {
        var validation = await validator.ValidateAsync(jwt, ct);
        if (validation.Token is not { } token)
            return validation;
        if (token.ClientId != client.Id)
            return validation with { Failure = Reason.TokenOfAnotherClient };
        // ct is not used here, so that the token is revoked even if the caller disconnects.
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
            return await store.AddAsync(token, ct);
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
        if (FailureByProfile(token) is { } outside)
            return outside;
        if (Failure(token, await clients.FindAsync(token.ClientId, ct)) is { } failure)
            return failure;
        return await states.FindAsync(token.Id, ct) is { IsRevoked: false } ? null : Reason.TokenRevoked;
    }

    // Why the profile rules the token out, which may be older than the profile, or of a replica without it; null: it allows
    // the token. Its client can revoke it all the same.
    private string? FailureByProfile(ValidatedToken token)
    {
        if (token.Type == AccessTokenIssuer.PlainType && !profile.AllowsPlainTokenType)
            return Reason.TokenOfAnotherType;
        if (!profile.AllowsAlgorithm(token.Algorithm))
            return Reason.TokenAlgorithmWrong;
        return token.Confirmation.KeyThumbprint is null && !profile.AllowsUnboundTokens ? Reason.TokenNotBound : null;
    }

    // Why the token is not valid because of a change of its client; null: it is valid in this respect.
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
