using System.Text.Json;
using Dapper;
using Npgsql;
using TokenService.Configuration;

namespace TokenService.Commands;

/// <summary>The answer of the database to a client that is to be made.</summary>
/// <param name="Refusal">Why it is refused; null: it is made.</param>
/// <param name="Warnings">The warnings of the functions.</param>
internal sealed record ImportAnswer(string? Refusal, IReadOnlyList<string> Warnings);

/// <summary>
/// Makes clients through the functions that the admin's scripts call, each in a transaction of its own, and reads those
/// that are there. It needs the rights of an admin.
/// </summary>
internal sealed class ImportStore
{
    private const string FindClients = """
        select c.id as "Id",
               c.name as "Name",
               c.enabled as "IsEnabled",
               c.authentication_methods as "Methods",
               c.token_lifetime_seconds as "TokenLifetimeSeconds",
               c.extra_claims::text as "Claims",
               exists (
                   select from token_service.client_secret s
                   where s.client_id = c.id and s.revoked_at is null and s.id like 'imported\_%') as "HasImportedSecret",
               exists (
                   select from token_service.client_secret s
                   where s.client_id = c.id and s.revoked_at is null and s.id not like 'imported\_%') as "HasNewSecret"
        from token_service.client c
        where c.id = any (@ids)
        """;

    private const string FindScopes = """
        select client_id as "ClientId",
               resource as "Resource",
               scope as "Name",
               is_default as "IsDefault"
        from token_service.client_scope
        where client_id = any (@ids)
        """;

    private const string CreateResource = """
        select token_service.create_resource(
            @resource, @scopes,
            case when not exists (select from token_service.resource where id = @resource) then @algorithm::text end)
        """;

    private const string CreateClient = """
        select token_service.create_client(
            p_client_id      => @id,
            p_name           => @name,
            p_resource       => @resource,
            p_scopes         => @scopes,
            p_default_scopes => @defaults,
            p_methods        => @methods,
            p_imported       => true,
            p_enabled        => @enabled)
        """;

    private const string GrantScopes = """
        select token_service.grant_scope(@id, g.scope, g.is_default, g.resource)
        from unnest(@grantedScopes, @areDefaults, @resources) with ordinality as g (scope, is_default, resource, n)
        order by n
        """;

    private const string UpdateClient = """
        select token_service.update_client(
            @id, p_token_lifetime => make_interval(secs => @seconds), p_extra_claims => @claims::jsonb)
        """;

    // Before the first start of a server there is no key at all, and at that start the first key of each algorithm signs at
    // once.
    private const string FindAlgorithmsNotReady = """
        select distinct r.signing_alg
        from token_service.resource r
        where r.signing_alg is not null
          and (token_service.algorithm_signs_from(r.signing_alg) <= now()) is not true
          and exists (select from token_service.signing_key)
        """;

    private const string AddSecret = "select token_service.add_secret(@id, @secretId, @digest, @label)";

    // Another admin's transaction may hold a lock for a moment.
    private const int Attempts = 3;

    private readonly NpgsqlConnection connection;
    private readonly Func<string, string?> algorithmOf;
    private readonly List<string> warnings = [];

    /// <param name="connection">An open connection of an admin.</param>
    /// <param name="algorithmOf">The signing algorithm of a resource that has to be made; null: the server's.</param>
    public ImportStore(NpgsqlConnection connection, Func<string, string?> algorithmOf)
    {
        (this.connection, this.algorithmOf) = (connection, algorithmOf);
        connection.Notice += (_, e) =>
        {
            if (e.Notice.InvariantSeverity == "WARNING")
                warnings.Add($"{e.Notice.MessageText} {e.Notice.Hint}".TrimEnd());
        };
    }

    /// <summary>For each client that is there already: how it differs from the plan. Empty: it does not.</summary>
    public async Task<Dictionary<string, IReadOnlyList<string>>> CompareAsync(IEnumerable<PlannedClient> planned, CancellationToken ct)
    {
        var found = new Dictionary<string, IReadOnlyList<string>>(StringComparer.Ordinal);
        foreach (var batch in planned.Chunk(500))
        {
            var ids = batch.Select(client => client.Id).ToArray();
            var rows = (await connection.QueryAsync<ClientRow>(
                FindClients, new { ids, ct }, commandTimeout: connection.CommandTimeout))
                .ToDictionary(row => row.Id, StringComparer.Ordinal);
            var scopes = (await connection.QueryAsync<ScopeRow>(
                FindScopes, new { ids, ct }, commandTimeout: connection.CommandTimeout))
                .ToLookup(row => row.ClientId, row => new PlannedScope(row.Resource, row.Name, row.IsDefault), StringComparer.Ordinal);
            foreach (var client in batch)
            {
                if (rows.TryGetValue(client.Id, out var row))
                    found[client.Id] = [.. Differences(client, row, [.. scopes[client.Id]])];
            }
        }

        return found;
    }

    /// <summary>Asks the database whether it would take the client. Changes nothing.</summary>
    public Task<ImportAnswer> TryAsync(PlannedClient client, string secretId, string digest, CancellationToken ct) =>
        RunAsync(client, secretId, digest, label: "x", isCommitted: false, ct);

    /// <summary>Makes the client with all that belongs to it, or nothing of it.</summary>
    public Task<ImportAnswer> MakeAsync(PlannedClient client, string secretId, string digest, string label, CancellationToken ct) =>
        RunAsync(client, secretId, digest, label, isCommitted: true, ct);

    /// <summary>The algorithms of resources for which no key signs yet, although this database has had a server.</summary>
    public Task<IEnumerable<string>> AlgorithmsNotReadyAsync() =>
        connection.QueryAsync<string>(FindAlgorithmsNotReady, commandTimeout: connection.CommandTimeout);

    private async Task<ImportAnswer> RunAsync(
        PlannedClient client, string secretId, string digest, string label, bool isCommitted, CancellationToken ct)
    {
        for (var attempt = 1; ; attempt++)
        {
            warnings.Clear();
            // Once begun, a transaction is not cancelled: whether its commit arrived would be unknown.
            ct.ThrowIfCancellationRequested();
            await using var transaction = await connection.BeginTransactionAsync(CancellationToken.None);
            try
            {
                await WriteAsync(client, secretId, digest, label);
                if (isCommitted)
                    await transaction.CommitAsync(CancellationToken.None);
                return new ImportAnswer(null, [.. warnings]);
            }
            catch (PostgresException e) when (e.SqlState is PostgresErrorCodes.LockNotAvailable or PostgresErrorCodes.DeadlockDetected)
            {
                if (attempt == Attempts)
                {
                    throw new OperatorException(
                        $"Another session holds a lock that client \"{client.Id}\" needs. Look at pg_stat_activity, then run the "
                        + "same again.");
                }
            }
            catch (PostgresException e) when (IsRefusal(e))
            {
                return new ImportAnswer($"{e.MessageText} {e.Hint}".TrimEnd(), [.. warnings]);
            }
        }
    }

    // The statements for one client go in one command: the round trips would cost as much as the statements.
    private async Task WriteAsync(PlannedClient client, string secretId, string digest, string label)
    {
        var resources = client.Scopes.GroupBy(scope => scope.Resource, StringComparer.Ordinal).ToList();
        foreach (var resource in resources.Where(resource => algorithmOf(resource.Key) is not null).Concat(resources.Skip(1)))
        {
            await connection.ExecuteAsync(
                CreateResource, new { resource = resource.Key, scopes = Names(resource), algorithm = algorithmOf(resource.Key) },
                commandTimeout: connection.CommandTimeout);
        }

        var (first, others) = (resources.FirstOrDefault(), resources.Skip(1).SelectMany(resource => resource).ToList());
        var hasMore = client.TokenLifetimeSeconds is not null || client.Claims != "{}";
        await connection.ExecuteAsync(
            string.Join(';', new[] { CreateClient, others.Count > 0 ? GrantScopes : null, hasMore ? UpdateClient : null, AddSecret }
                .Where(statement => statement is not null)),
            new
            {
                id = client.Id,
                name = client.Name,
                resource = first?.Key,
                scopes = Names(first),
                defaults = Names(first?.Where(scope => scope.IsDefault)),
                methods = client.Methods.ToArray(),
                enabled = client.IsEnabled,
                grantedScopes = Names(others),
                areDefaults = others.ConvertAll(scope => scope.IsDefault).ToArray(),
                resources = others.ConvertAll(scope => scope.Resource).ToArray(),
                seconds = client.TokenLifetimeSeconds,
                claims = client.Claims,
                secretId,
                digest,
                label,
            }, commandTimeout: connection.CommandTimeout);
    }

    private static string[] Names(IEnumerable<PlannedScope>? scopes) => [.. (scopes ?? []).Select(scope => scope.Name)];

    // A rule of the functions or a constraint, and not a lack of rights or of a connection.
    private static bool IsRefusal(PostgresException e) =>
        e.SqlState.StartsWith("22", StringComparison.Ordinal)
        || e.SqlState.StartsWith("23", StringComparison.Ordinal)
        || e.SqlState is PostgresErrorCodes.ProgramLimitExceeded or PostgresErrorCodes.NoDataFound;

    private static IEnumerable<string> Differences(PlannedClient client, ClientRow row, HashSet<PlannedScope> scopes)
    {
        if (row.Name != client.Name)
            yield return "its name is another";
        if (row.IsEnabled != client.IsEnabled)
            yield return row.IsEnabled ? "it is enabled" : "it is disabled";
        if (!row.Methods.ToHashSet().SetEquals(client.Methods))
            yield return $"it authenticates by {string.Join(' ', row.Methods)}";
        if (row.TokenLifetimeSeconds != client.TokenLifetimeSeconds)
            yield return row.TokenLifetimeSeconds is { } seconds ? $"its tokens live {seconds} s" : "its tokens live the server's default";
        if (!JsonElement.DeepEquals(JsonElement.Parse(row.Claims), JsonElement.Parse(client.Claims)))
            yield return "its extra claims are others";
        if (scopes.Except(client.Scopes).ToList() is { Count: > 0 } more)
            yield return $"it has {Shown(more)}";
        if (client.Scopes.Except(scopes).ToList() is { Count: > 0 } less)
            yield return $"it lacks {Shown(less)}";
        if (!(row.HasNewSecret || (client.Secret is not null && row.HasImportedSecret)))
            yield return "it has no such secret";
    }

    private static string Shown(IEnumerable<PlannedScope> scopes) =>
        string.Join(", ", scopes.Select(scope => $"{scope.Name} of {scope.Resource}{(scope.IsDefault ? " by default" : "")}"));

    // Properties and no constructor: Dapper does not find a constructor that takes an array.
    internal sealed record ClientRow
    {
        public required string Id { get; init; }
        public required string Name { get; init; }
        public required bool IsEnabled { get; init; }
        public required string[] Methods { get; init; }
        public required int? TokenLifetimeSeconds { get; init; }
        public required string Claims { get; init; }
        public required bool HasImportedSecret { get; init; }
        public required bool HasNewSecret { get; init; }
    }

    internal sealed record ScopeRow
    {
        public required string ClientId { get; init; }
        public required string Resource { get; init; }
        public required string Name { get; init; }
        public required bool IsDefault { get; init; }
    }
}
