using Dapper;
using Npgsql;
using TokenService.Postgres;
using TokenService.Tokens;

namespace TokenService.Revocation;

/// <summary>The state of one token in the database.</summary>
internal sealed record TokenState(bool IsRevoked);

/// <summary>Reads and writes revocations. A row lasts until its token expires.</summary>
internal sealed class RevocationStore(NpgsqlDataSource postgres)
{
    private const string Find = """
        select jti
        from token_service.revoked_token
        where jti = any (@ids)
        """;

    private const string Revoke = """
        select token_service.revoke_token(@id, @clientId, @issuedAt, @expiresAt)
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
        from token_service.client_not_before
        where not_before > @issuedSince
        order by client_id;

        commit;
        """;

    private const string DeleteExpired = "select token_service.delete_expired(@maxCount)";

    /// <summary>The states of tokens, by jti. A token that was not revoked has one, too.</summary>
    public async Task<IReadOnlyDictionary<string, TokenState>> FindAsync(IReadOnlyCollection<string> ids, CancellationToken ct)
    {
        await using var connection = await postgres.OpenConnectionAsync(ct);
        var revoked = (await connection.QueryAsync<string>(
            Find, new { ids = ids.ToArray(), ct }, commandTimeout: connection.CommandTimeout))
            .ToHashSet(StringComparer.Ordinal);
        return ids.ToDictionary(id => id, id => new TokenState(revoked.Contains(id)), StringComparer.Ordinal);
    }

    /// <summary>
    /// Revokes a token, or all tokens of its client up to now if the client has revoked many. If the token is revoked
    /// already, nothing changes.
    /// </summary>
    /// <returns>False: the list of revoked tokens is full, and nothing is revoked.</returns>
    public async Task<bool> AddAsync(ValidatedToken token, CancellationToken ct)
    {
        await using var connection = await postgres.OpenConnectionAsync(ct);
        return await connection.ExecuteScalarAsync<bool>(
            Revoke,
            new
            {
                id = token.Id,
                clientId = token.ClientId,
                issuedAt = token.IssuedAt.UtcDateTime,
                expiresAt = token.ExpiresAt.UtcDateTime,
                ct,
            }, commandTimeout: connection.CommandTimeout);
    }

    /// <param name="since">Tokens that expired before this instant are left out.</param>
    /// <param name="maxLifetime">The longest lifetime of any token.</param>
    /// <param name="ct">Ends the wait for the database.</param>
    public async Task<Revocations> LoadAsync(DateTimeOffset since, TimeSpan maxLifetime, CancellationToken ct)
    {
        await using var connection = await postgres.OpenConnectionAsync(ct);
        await using var command = new NpgsqlCommand(Load, connection)
        {
            Parameters =
            {
                new NpgsqlParameter<DateTime>("since", since.UtcDateTime),
                new NpgsqlParameter<DateTime>("issuedSince", (since - maxLifetime).UtcDateTime),
            },
        };
        await using var found = await command.ExecuteReaderAsync(ct);
        var tokens = await found.ReadRowsAsync(row => row.GetString(0), ct);
        var clients = await found.ReadRowsAsync(found.GetRowParser<ClientNotBefore>(), ct);
        return new Revocations([.. tokens], [.. clients]);
    }

    /// <summary>Deletes revocations of tokens that have expired.</summary>
    /// <param name="maxCount">How many rows to delete at most: 1 to 1000.</param>
    /// <param name="ct">Ends the wait for the database.</param>
    /// <returns>How many rows were deleted. If it is <paramref name="maxCount"/>, there may be more.</returns>
    public async Task<int> DeleteExpiredAsync(int maxCount, CancellationToken ct)
    {
        await using var connection = await postgres.OpenConnectionAsync(ct);
        return await connection.ExecuteScalarAsync<int>(
            DeleteExpired, new { maxCount, ct }, commandTimeout: connection.CommandTimeout);
    }
}
