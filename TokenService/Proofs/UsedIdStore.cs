using Dapper;
using Npgsql;
using TokenService.Postgres;

namespace TokenService.Proofs;

/// <summary>An id that waits to be recorded as used.</summary>
internal sealed class UnrecordedId(OneTimeId id)
{
    public OneTimeId Id { get; } = id;

    /// <summary>True when the statement may have reached the database, with success or without.</summary>
    public bool IsSent { get; set; }
}

/// <summary>Records in the database which assertions were used.</summary>
internal sealed class UsedIdStore(NpgsqlDataSource postgres)
{
    // The primary key decides which of two requests was first, also when they arrived at two replicas. The order of the keys
    // keeps two replicas that insert the same ones from waiting for each other. A crash of the database may forget the
    // last half second; waiting for the disk would make each assertion cost as much as a hundred tokens.
    private const string Insert = """
        begin;

        set local synchronous_commit = off;

        insert into token_service.used_jti (key, expires_at)
        select key, expires_at
        from unnest(@keys, @expires_at) as t (key, expires_at)
        order by key
        on conflict do nothing
        returning key as "Key";

        commit;
        """;

    private const string DeleteExpired = """
        select token_service.delete_expired_jti(@limit)
        """;

    /// <summary>Records ids.</summary>
    /// <returns>For each id, in the same order: true if it was not used before, also not by an earlier one of these.</returns>
    public async Task<IReadOnlyList<bool>> InsertAsync(IReadOnlyList<UnrecordedId> ids, CancellationToken ct)
    {
        await using var connection = await postgres.OpenConnectionAsync(ct);
        await using var command = new NpgsqlCommand(Insert, connection);
        command.Parameters.Add(new NpgsqlParameter<byte[][]>("keys", [.. ids.Select(id => id.Id.Hash.ToBytes())]));
        command.Parameters.Add(new NpgsqlParameter<DateTime[]>("expires_at", [.. ids.Select(id => id.Id.Until.UtcDateTime)]));
        foreach (var id in ids)
            id.IsSent = true;
        await using var inserted = await command.ExecuteReaderAsync(ct);
        var keys = await inserted.ReadRowsAsync(row => row.GetFieldValue<byte[]>(0), ct);
        var first = keys.Select(key => Convert.ToHexString(key)).ToHashSet(StringComparer.Ordinal);
        // An id that is there twice was first once.
        return [.. ids.Select(id => first.Remove(Convert.ToHexString(id.Id.Hash.ToBytes())))];
    }

    /// <summary>Deletes up to <paramref name="limit"/> ids whose assertions have expired.</summary>
    /// <returns>How many were deleted; as many as the limit means that there may be more.</returns>
    public async Task<int> DeleteExpiredAsync(int limit, CancellationToken ct)
    {
        await using var connection = await postgres.OpenConnectionAsync(ct);
        return await connection.ExecuteScalarAsync<int>(
            DeleteExpired, new { limit, ct }, commandTimeout: connection.CommandTimeout);
    }
}
