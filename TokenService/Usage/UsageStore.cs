using Dapper;
using Npgsql;
using TokenService.Protocol;

namespace TokenService.Usage;

/// <summary>A secret or key that is used and will end.</summary>
internal sealed record EndingCredential(CredentialId Credential, string ClientId, DateTimeOffset EndsAt);

/// <summary>Writes how much credentials and scopes are used.</summary>
internal sealed class UsageStore(NpgsqlDataSource postgres)
{
    private const string AddCredentialUse = """
        select token_service.add_credential_use(@kinds, @ids, @counts, @firstAt, @lastAt, @lastFrom::inet[])
        """;

    private const string AddScopeUse = """
        select token_service.add_scope_use(@clientIds, @resourceIds, @scopes, @counts, @firstAt, @lastAt)
        """;

    private const string Ending = """
        select 'secret' as "Kind",
               s.id as "Id",
               s.client_id as "ClientId",
               token_service.secret_ends_at(s.created_at, s.expires_at) as "EndsAt"
        from token_service.client_secret s
        where s.id = any (@secretIds)
          and s.revoked_at is null
          and token_service.secret_ends_at(s.created_at, s.expires_at) <= @endingBy
        union all
        select 'key',
               used.id,
               k.client_id,
               k.expires_at
        from unnest(@keyIds) as used (id)
        join token_service.client_key k
            on k.client_id = split_part(used.id, ' ', 1) and k.kid = split_part(used.id, ' ', 2)
        where k.revoked_at is null
          and k.expires_at <= @endingBy
        order by 3, 1 desc, 2
        """;

    /// <summary>Adds counts to those of the database, all or none.</summary>
    /// <returns>The used secrets and keys that end at <paramref name="endingBy"/> or earlier.</returns>
    public async Task<IReadOnlyList<EndingCredential>> WriteAsync(UnwrittenUsage usage, DateTimeOffset endingBy, CancellationToken ct)
    {
        var (credentials, scopes) = (usage.Credentials, usage.Scopes);
        await using var connection = await postgres.OpenConnectionAsync(ct);
        await using var transaction = await connection.BeginTransactionAsync(ct);
        await connection.ExecuteAsync(AddCredentialUse, new
        {
            kinds = Column(credentials, count => count.Key.Kind),
            ids = Column(credentials, count => count.Key.Id),
            counts = Column(credentials, count => count.Count),
            firstAt = Column(credentials, count => count.FirstAt.UtcDateTime),
            lastAt = Column(credentials, count => count.LastAt.UtcDateTime),
            lastFrom = Column(credentials, count => count.LastFrom?.ToString()),
            ct,
        }, commandTimeout: connection.CommandTimeout);
        await connection.ExecuteAsync(AddScopeUse, new
        {
            clientIds = Column(scopes, count => count.Key.ClientId),
            resourceIds = Column(scopes, count => count.Key.ResourceId),
            scopes = Column(scopes, count => count.Key.Scope),
            counts = Column(scopes, count => count.Count),
            firstAt = Column(scopes, count => count.FirstAt.UtcDateTime),
            lastAt = Column(scopes, count => count.LastAt.UtcDateTime),
            ct,
        }, commandTimeout: connection.CommandTimeout);
        var ending = await connection.QueryAsync<Row>(Ending, new
        {
            secretIds = IdsOf(credentials, CredentialId.Secret),
            keyIds = IdsOf(credentials, CredentialId.Key),
            endingBy = endingBy.UtcDateTime,
            ct,
        }, commandTimeout: connection.CommandTimeout);
        await transaction.CommitAsync(ct);
        return [.. ending.Select(row => new EndingCredential(new CredentialId(row.Kind, row.Id), row.ClientId, row.EndsAt))];
    }

    private static string[] IdsOf(IEnumerable<UsageCount<CredentialId>> credentials, string kind) =>
        [.. credentials.Where(count => count.Key.Kind == kind).Select(count => count.Key.Id)];

    private static TValue[] Column<TCount, TValue>(IReadOnlyList<TCount> counts, Func<TCount, TValue> value) => [.. counts.Select(value)];

    internal sealed record Row(string Kind, string Id, string ClientId, DateTime EndsAt);
}
