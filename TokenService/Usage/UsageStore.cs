using System.Net;
using Dapper;
using Npgsql;

namespace TokenService.Usage;

/// <summary>A secret that is in use and will end.</summary>
internal sealed record EndingSecret(string SecretId, string ClientId, DateTimeOffset EndsAt);

/// <summary>Writes how much secrets and scopes are used.</summary>
internal sealed class UsageStore(NpgsqlDataSource postgres)
{
    // One statement, without what has been deleted meanwhile, and in the order of ids, so that replicas that write at the same time do
    // not wait for each other in a circle.
    private const string Write = """
        with secrets as (
            insert into token_service.secret_use as u (secret_id, use_count, first_used_at, last_used_at, last_used_from)
            select t.id, t.uses, t.first_at, t.last_at, t.last_from::inet
            from unnest(@secretIds, @secretCounts, @secretFirstAt, @secretLastAt, @secretLastFrom)
                as t (id, uses, first_at, last_at, last_from)
            join token_service.client_secret s on s.id = t.id
            order by t.id
            on conflict (secret_id) do update
            set use_count = u.use_count + excluded.use_count,
                first_used_at = least(u.first_used_at, excluded.first_used_at),
                last_used_from = case when excluded.last_used_at >= u.last_used_at then excluded.last_used_from else u.last_used_from end,
                last_used_at = greatest(u.last_used_at, excluded.last_used_at)
        ), scopes as (
            insert into token_service.scope_use as u (client_id, scope, use_count, first_used_at, last_used_at)
            select t.client_id, t.scope, t.uses, t.first_at, t.last_at
            from unnest(@scopeClientIds, @scopes, @scopeCounts, @scopeFirstAt, @scopeLastAt)
                as t (client_id, scope, uses, first_at, last_at)
            join token_service.client_scope cs on cs.client_id = t.client_id and cs.scope = t.scope
            order by t.client_id, t.scope
            on conflict (client_id, scope) do update
            set use_count = u.use_count + excluded.use_count,
                first_used_at = least(u.first_used_at, excluded.first_used_at),
                last_used_at = greatest(u.last_used_at, excluded.last_used_at)
        )
        select s.id as "SecretId",
               s.client_id as "ClientId",
               token_service.secret_ends_at(s.created_at, s.expires_at) as "EndsAt"
        from token_service.client_secret s
        where s.id = any (@secretIds)
          and s.revoked_at is null
          and token_service.secret_ends_at(s.created_at, s.expires_at) <= @endingBy
        order by s.client_id, s.id
        """;

    /// <summary>Adds to what the database has.</summary>
    /// <param name="uses">What to add.</param>
    /// <param name="endingBy">Until when a secret must live not to be warned of.</param>
    /// <param name="ct">Ends the wait.</param>
    /// <returns>Those of the secrets that end by then.</returns>
    public async Task<IReadOnlyList<EndingSecret>> WriteAsync(UnwrittenUses uses, DateTimeOffset endingBy, CancellationToken ct)
    {
        await using var connection = await postgres.OpenConnectionAsync(ct);
        var ending = await connection.QueryAsync<Row>(new(Write, new
        {
            secretIds = Column(uses.Secrets, use => use.Of.SecretId),
            secretCounts = Column(uses.Secrets, use => use.Count),
            secretFirstAt = Column(uses.Secrets, use => use.FirstAt.UtcDateTime),
            secretLastAt = Column(uses.Secrets, use => use.LastAt.UtcDateTime),
            secretLastFrom = Column(uses.Secrets, use => Inet(use.LastFrom)),
            scopeClientIds = Column(uses.Scopes, use => use.Of.ClientId),
            scopes = Column(uses.Scopes, use => use.Of.Scope),
            scopeCounts = Column(uses.Scopes, use => use.Count),
            scopeFirstAt = Column(uses.Scopes, use => use.FirstAt.UtcDateTime),
            scopeLastAt = Column(uses.Scopes, use => use.LastAt.UtcDateTime),
            endingBy = endingBy.UtcDateTime,
        }, cancellationToken: ct));
        return [.. ending.Select(row => new EndingSecret(row.SecretId, row.ClientId, row.EndsAt))];
    }

    // PostgreSQL's inet knows no zone, which ToString appends to a link-local address.
    private static string? Inet(IPAddress? address) => address switch
    {
        null => null,
        { IsIPv4MappedToIPv6: true } => address.MapToIPv4().ToString(),
        _ => new IPAddress(address.GetAddressBytes()).ToString(),
    };

    private static TValue[] Column<TUse, TValue>(IReadOnlyList<TUse> uses, Func<TUse, TValue> value) => [.. uses.Select(value)];

    private sealed record Row(string SecretId, string ClientId, DateTime EndsAt);
}
