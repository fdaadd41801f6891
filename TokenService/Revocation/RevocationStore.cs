using Dapper;
using Npgsql;
using TokenService.Tokens;

namespace TokenService.Revocation;

/// <summary>The state of one token in the database.</summary>
internal sealed record TokenState(bool IsRevoked);

/// <summary>All revocations of tokens that have not expired.</summary>
/// <param name="TokenIds">The jti of each token that was revoked alone, sorted.</param>
/// <param name="NotBefore">The clients whose tokens were all revoked, sorted by client.</param>
internal sealed record Revocations(IReadOnlyList<string> TokenIds, IReadOnlyList<ClientNotBefore> NotBefore);

/// <param name="ClientId">The client whose tokens were revoked.</param>
/// <param name="NotBefore">Tokens issued up to this instant are revoked.</param>
internal sealed record ClientNotBefore(string ClientId, DateTime NotBefore);

/// <summary>Reads and writes revocations. A row lasts until its token expires.</summary>
internal sealed class RevocationStore(NpgsqlDataSource postgres)
{
    /// <summary>
    /// How many unexpired tokens of one client may be revoked one by one. It bounds the table and the list. Requests at
    /// the same moment may exceed it slightly, because each of them counts the rows before the others are committed.
    /// </summary>
    public const int MaxPerClient = 10_000;

    private const string Find = """
        select exists (
            select
            from token_service.revoked_token
            where jti = @id
        ) as "IsRevoked"
        """;

    private const string Insert = """
        insert into token_service.revoked_token (jti, client_id, expires_at)
        select @id, @clientId, @expiresAt
        where @max > (
            select count(*)
            from (
                select
                from token_service.revoked_token
                where client_id = @clientId
                  and expires_at > @now
                limit @max
            ) alive
        )
        on conflict (jti) do nothing
        """;

    // Both queries see one snapshot.
    private const string Load = """
        begin isolation level repeatable read read only;

        select jti
        from token_service.revoked_token
        where expires_at > @since
        order by jti;

        select client_id as "ClientId",
               not_before as "NotBefore"
        from token_service.tokens_not_before
        where not_before > @issuedSince
        order by client_id;

        commit;
        """;

    private const string DeleteExpired = "select token_service.delete_expired(@maxCount)";

    public async Task<TokenState?> FindAsync(string id, CancellationToken ct)
    {
        await using var connection = await postgres.OpenConnectionAsync(ct);
        return await connection.QuerySingleAsync<TokenState>(new(Find, new { id }, cancellationToken: ct));
    }

    /// <summary>Revokes a token. If it is revoked already, nothing changes.</summary>
    /// <returns>False: the client has <see cref="MaxPerClient"/> revoked tokens already.</returns>
    public async Task<bool> AddAsync(ValidatedToken token, DateTimeOffset now, CancellationToken ct)
    {
        // All statements use this one connection. If each call held one connection and waited for a second, many calls
        // at once could use up the pool and wait for each other for ever.
        await using var connection = await postgres.OpenConnectionAsync(ct);
        if (await IsRevokedAsync(connection, token.Id, ct))
            return true;
        var added = await connection.ExecuteAsync(new(
            Insert,
            new
            {
                id = token.Id,
                clientId = token.ClientId,
                expiresAt = token.ExpiresAt.UtcDateTime,
                now = now.UtcDateTime,
                max = MaxPerClient,
            },
            cancellationToken: ct));
        return added > 0 || await IsRevokedAsync(connection, token.Id, ct);
    }

    /// <param name="since">Tokens that expired before this instant are left out.</param>
    /// <param name="maxLifetime">The longest lifetime of any token.</param>
    /// <param name="ct">Ends the wait for the database.</param>
    public async Task<Revocations> LoadAsync(DateTimeOffset since, TimeSpan maxLifetime, CancellationToken ct)
    {
        await using var connection = await postgres.OpenConnectionAsync(ct);
        await using var found = await connection.QueryMultipleAsync(new CommandDefinition(
            Load, new { since = since.UtcDateTime, issuedSince = (since - maxLifetime).UtcDateTime }, cancellationToken: ct));
        var tokens = await found.ReadAsync<string>();
        var clients = await found.ReadAsync<ClientNotBefore>();
        return new Revocations([.. tokens], [.. clients]);
    }

    /// <summary>Deletes revocations of tokens that have expired.</summary>
    /// <param name="maxCount">How many rows to delete at most: 1 to 1000.</param>
    /// <param name="ct">Ends the wait for the database.</param>
    /// <returns>How many rows were deleted. If it is <paramref name="maxCount"/>, there may be more.</returns>
    public async Task<int> DeleteExpiredAsync(int maxCount, CancellationToken ct)
    {
        await using var connection = await postgres.OpenConnectionAsync(ct);
        return await connection.ExecuteScalarAsync<int>(new(DeleteExpired, new { maxCount }, cancellationToken: ct));
    }

    private static async Task<bool> IsRevokedAsync(NpgsqlConnection connection, string id, CancellationToken ct) =>
        (await connection.QuerySingleAsync<TokenState>(new(Find, new { id }, cancellationToken: ct))).IsRevoked;
}
