using Dapper;
using Npgsql;
using TokenService.Tokens;

namespace TokenService.Revocation;

/// <summary>Whether a token was revoked, as the database has it.</summary>
internal sealed record TokenState(bool IsRevoked);

/// <summary>What is dead before it expires.</summary>
/// <param name="TokenIds">jti of tokens that were revoked, sorted.</param>
/// <param name="NotBefore">Of clients whose tokens up to an instant are dead, that instant; sorted by client.</param>
internal sealed record Revocations(IReadOnlyList<string> TokenIds, IReadOnlyList<ClientNotBefore> NotBefore);

/// <param name="ClientId">Whose tokens.</param>
/// <param name="NotBefore">Those issued up to this instant.</param>
internal sealed record ClientNotBefore(string ClientId, DateTime NotBefore);

/// <summary>Revoked tokens as the database has them, until they expire. Decides nothing.</summary>
internal sealed class RevocationStore(NpgsqlDataSource postgres)
{
    /// <summary>
    /// About how many revoked tokens of one client may be alive: a bound for the list and the table. Requests at the same moment may each be
    /// the last.
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
        where @most > (
            select count(*)
            from (
                select
                from token_service.revoked_token
                where client_id = @clientId
                  and expires_at > @now
                limit @most
            ) alive
        )
        on conflict (jti) do nothing
        """;

    // One snapshot.
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

    private const string DeleteExpired = "select token_service.delete_expired(@most)";

    public async Task<TokenState?> FindAsync(string id, CancellationToken ct)
    {
        await using var connection = await postgres.OpenConnectionAsync(ct);
        return await connection.QuerySingleAsync<TokenState>(new(Find, new { id }, cancellationToken: ct));
    }

    /// <summary>Revokes a token. Once more changes nothing.</summary>
    /// <returns>False: too many of the client's are revoked already.</returns>
    public async Task<bool> AddAsync(ValidatedToken token, DateTimeOffset now, CancellationToken ct)
    {
        // One connection: who held one and waited for another could, with others, wait for ever.
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
                most = MaxPerClient,
            },
            cancellationToken: ct));
        return added > 0 || await IsRevokedAsync(connection, token.Id, ct);
    }

    /// <param name="since">Tokens that expired before are left out.</param>
    /// <param name="longest">No token lives for longer.</param>
    /// <param name="ct">Ends the wait.</param>
    public async Task<Revocations> LoadAsync(DateTimeOffset since, TimeSpan longest, CancellationToken ct)
    {
        await using var connection = await postgres.OpenConnectionAsync(ct);
        await using var found = await connection.QueryMultipleAsync(new CommandDefinition(
            Load, new { since = since.UtcDateTime, issuedSince = (since - longest).UtcDateTime }, cancellationToken: ct));
        var tokens = await found.ReadAsync<string>();
        var clients = await found.ReadAsync<ClientNotBefore>();
        return new Revocations([.. tokens], [.. clients]);
    }

    /// <summary>Deletes what is of no account any more.</summary>
    /// <param name="most">How many at once: 1 to 1000.</param>
    /// <param name="ct">Ends the wait.</param>
    /// <returns>How many were; <paramref name="most"/>: there may be more.</returns>
    public async Task<int> DeleteExpiredAsync(int most, CancellationToken ct)
    {
        await using var connection = await postgres.OpenConnectionAsync(ct);
        return await connection.ExecuteScalarAsync<int>(new(DeleteExpired, new { most }, cancellationToken: ct));
    }

    private static async Task<bool> IsRevokedAsync(NpgsqlConnection connection, string id, CancellationToken ct) =>
        (await connection.QuerySingleAsync<TokenState>(new(Find, new { id }, cancellationToken: ct))).IsRevoked;
}
