using System.Net;
using Dapper;
using Npgsql;
using TokenService.Protocol;

namespace TokenService.Usage;

/// <summary>A secret that is used and will end.</summary>
internal sealed record EndingSecret(string SecretId, string ClientId, DateTimeOffset EndsAt);

/// <summary>Writes how much credentials and scopes are used.</summary>
internal sealed class UsageStore(NpgsqlDataSource postgres)
{
    // One statement. It leaves out credentials and scopes that were deleted meanwhile. It writes in the order of the
    // keys, so that replicas that write at the same time do not deadlock; the function delete_client locks in the same
    // order.
    private const string Write = """
        with credentials as (
            insert into token_service.credential_use as u (
                kind, credential_id, client_id, use_count, first_used_at, last_used_at, last_used_from)
            select t.kind, t.id, s.client_id, t.uses, t.first_at, t.last_at, t.last_from::inet
            from unnest(@kinds, @credentialIds, @credentialCounts, @credentialFirstAt, @credentialLastAt, @credentialLastFrom)
                as t (kind, id, uses, first_at, last_at, last_from)
            join token_service.client_secret s on t.kind = @secret and s.id = t.id
            order by t.kind, t.id
            on conflict (kind, credential_id) do update
            set use_count = u.use_count + excluded.use_count,
                first_used_at = least(u.first_used_at, excluded.first_used_at),
                last_used_from = case when excluded.last_used_at >= u.last_used_at then excluded.last_used_from else u.last_used_from end,
                last_used_at = greatest(u.last_used_at, excluded.last_used_at)
        ), scopes as (
            insert into token_service.scope_use as u (client_id, resource, scope, use_count, first_used_at, last_used_at)
            select t.client_id, t.resource, t.scope, t.uses, t.first_at, t.last_at
            from unnest(@scopeClientIds, @scopeResourceIds, @scopes, @scopeCounts, @scopeFirstAt, @scopeLastAt)
                as t (client_id, resource, scope, uses, first_at, last_at)
            join token_service.client_scope cs
                on cs.client_id = t.client_id and cs.resource = t.resource and cs.scope = t.scope
            order by t.client_id, t.resource, t.scope
            on conflict (client_id, resource, scope) do update
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

    /// <summary>Adds counts to those of the database.</summary>
    /// <returns>The used secrets that end at <paramref name="endingBy"/> or earlier.</returns>
    public async Task<IReadOnlyList<EndingSecret>> WriteAsync(UnwrittenUsage usage, DateTimeOffset endingBy, CancellationToken ct)
    {
        await using var connection = await postgres.OpenConnectionAsync(ct);
        var ending = await connection.QueryAsync<Row>(new(Write, new
        {
            secret = CredentialId.Secret,
            kinds = Column(usage.Credentials, count => count.Key.Kind),
            credentialIds = Column(usage.Credentials, count => count.Key.Id),
            credentialCounts = Column(usage.Credentials, count => count.Count),
            credentialFirstAt = Column(usage.Credentials, count => count.FirstAt.UtcDateTime),
            credentialLastAt = Column(usage.Credentials, count => count.LastAt.UtcDateTime),
            credentialLastFrom = Column(usage.Credentials, count => Inet(count.LastFrom)),
            scopeClientIds = Column(usage.Scopes, count => count.Key.ClientId),
            scopeResourceIds = Column(usage.Scopes, count => count.Key.ResourceId),
            scopes = Column(usage.Scopes, count => count.Key.Scope),
            scopeCounts = Column(usage.Scopes, count => count.Count),
            scopeFirstAt = Column(usage.Scopes, count => count.FirstAt.UtcDateTime),
            scopeLastAt = Column(usage.Scopes, count => count.LastAt.UtcDateTime),
            secretIds = Column([.. usage.Credentials.Where(count => count.Key.Kind == CredentialId.Secret)], count => count.Key.Id),
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

    private static TValue[] Column<TCount, TValue>(IReadOnlyList<TCount> counts, Func<TCount, TValue> value) => [.. counts.Select(value)];

    private sealed record Row(string SecretId, string ClientId, DateTime EndsAt);
}
