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
    private const int MaxTokens = 20_000; // about 200 bytes each

    // Of the connections of the pool, so that those who revoke leave some to everybody else.
    private const int MaxWrites = 16;

    private static readonly TimeSpan WriteTimeout = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan RetryAfterTooMany = TimeSpan.FromMinutes(1);

    private readonly AccessTokenValidator reader;
    private readonly ClientCache clients;
    private readonly RevocationStore store;
    private readonly TimeProvider clock;
    private readonly DatabaseCache<TokenState> states;
    private readonly SemaphoreSlim mayWrite = new(MaxWrites);

    public TokenStatus(
        AccessTokenValidator reader,
        ClientCache clients,
        RevocationStore store,
        ChangeNotifications notifications,
        IOptions<ClientCacheOptions> options,
        TimeProvider clock,
        ILogger<TokenStatus> logger)
    {
        (this.reader, this.clients, this.store, this.clock) = (reader, clients, store, clock);
        var remembering = new Remembering("token", options.Value.ServeWhileAway, MaxTokens, MaxUnknown: 0);
        states = new DatabaseCache<TokenState>(remembering, store.FindAsync, notifications, clock, logger);
    }

    /// <summary>Whether a token is good for an API that received it: all that can be checked of it is (RFC 7662 §4).</summary>
    /// <param name="jwt">Anything.</param>
    /// <param name="api">Who asks: a client that speaks for resources.</param>
    /// <param name="ct">Ends the wait.</param>
    /// <exception cref="NpgsqlException">The database has to be asked, and is away.</exception>
    public async ValueTask<TokenValidation> IntrospectAsync(string jwt, Client api, CancellationToken ct)
    {
        var validation = await reader.ReadAsync(jwt, ct);
        return validation.Token is { } token ? validation with { Failure = await FailureAsync(token, api, ct) } : validation;
    }

    /// <summary>Revokes a token, if it is one of the client's own that still lives (RFC 7009 §2.1).</summary>
    /// <returns>Refused: it could not be.</returns>
    /// <exception cref="NpgsqlException">The database is away.</exception>
    public async ValueTask<Result<TokenValidation>> RevokeAsync(string jwt, Client client, CancellationToken ct)
    {
        var validation = await reader.ReadAsync(jwt, ct);
        if (validation.Token is not { } token)
            return validation;
        if (token.ClientId != client.Id)
            return validation with { Failure = "it is another client's" };
        // When the caller goes away, too: what it wanted is done.
        if (!await DatabaseUnavailable.AskAsync(WriteTimeout, clock, timeout => AddAsync(token, timeout)))
            return OAuthError.TemporarilyUnavailable("too many tokens of the client are revoked one by one", RetryAfterTooMany);
        states.Forget(token.Id);
        return validation;
    }

    public void Dispose()
    {
        states.Dispose();
        mayWrite.Dispose();
    }

    private async Task<bool> AddAsync(ValidatedToken token, CancellationToken ct)
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

    private async ValueTask<string?> FailureAsync(ValidatedToken token, Client api, CancellationToken ct)
    {
        if (!api.Resources.Any(resource => resource.Audience == token.Audience))
            return "it is for a resource that the caller does not speak for";
        if (Failure(token, await clients.FindAsync(token.ClientId, ct)) is { } failure)
            return failure;
        return await states.FindAsync(token.Id, ct) is { IsRevoked: false } ? null : "its client revoked it";
    }

    // What its client has become since.
    private static string? Failure(ValidatedToken token, Client? client)
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
