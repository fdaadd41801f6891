using System.Collections.Concurrent;
using System.Collections.Frozen;
using System.Text.Json;
using Dapper;
using Npgsql;
using TokenService.Jose;
using TokenService.Postgres;
using TokenService.Protocol;
using TokenService.Secrets;

namespace TokenService.Clients;

/// <summary>Reads clients from the database.</summary>
internal sealed class ClientStore(NpgsqlDataSource postgres)
{
    // One round trip and one snapshot, so that a change which is committed meanwhile is seen whole or not at all. The
    // clock of the database, and not that of this replica, decides whether a secret has begun or ended.
    private const string Find = """
        begin isolation level repeatable read read only;

        select id as "Id",
               enabled as "Enabled",
               authentication_methods as "AuthenticationMethods",
               token_lifetime_seconds as "TokenLifetimeSeconds",
               tokens_per_minute as "TokensPerMinute",
               extra_claims::text as "ExtraClaims",
               sender_constraint as "SenderConstraint",
               token_endpoint_audience_until as "TokenEndpointAudienceUntil",
               n.not_before as "TokensNotBefore"
        from token_service.client
        left join lateral (select not_before from token_service.client_not_before where client_id = client.id) n on true
        where id = any (@ids);

        select s.client_id as "ClientId",
               s.id as "Id",
               s.digest as "Digest",
               s.not_before as "NotBefore",
               token_service.secret_ends_at(s.created_at, s.expires_at) as "ExpiresAt",
               s.revoked_at as "RevokedAt",
               s.not_before <= now() as "HasBegun",
               least(s.revoked_at, token_service.secret_ends_at(s.created_at, s.expires_at)) <= now() is true as "IsOver",
               v.mac as "VerifiedMac",
               v.sealing_key_id as "VerifiedUnder"
        from token_service.client_secret s
        left join token_service.verified_secret v on v.secret_id = s.id
        where s.client_id = any (@ids)
          -- A constraint refuses such a row. If it is missing, the row must not keep the others from being read.
          and token_service.is_representable(least(s.not_before, s.expires_at, s.revoked_at, s.created_at))
          and token_service.is_representable(greatest(s.not_before, s.expires_at, s.revoked_at, s.created_at))
        order by s.created_at desc, s.id;

        select client_id as "ClientId",
               kid as "Kid",
               alg as "Algorithm",
               public_jwk::text as "PublicJwk",
               not_before as "NotBefore",
               expires_at as "ExpiresAt",
               revoked_at as "RevokedAt",
               not_before <= now() as "HasBegun",
               least(revoked_at, expires_at) <= now() is true as "IsOver"
        from token_service.client_key
        where client_id = any (@ids)
          -- As above.
          and token_service.is_representable(least(not_before, expires_at, revoked_at))
          and token_service.is_representable(greatest(not_before, expires_at, revoked_at))
        order by created_at desc, kid;

        select cs.client_id as "ClientId",
               cs.scope as "Name",
               cs.is_default as "IsDefault",
               r.id as "ResourceId",
               r.signing_alg as "SigningAlgorithm",
               r.max_token_lifetime_seconds as "MaxTokenLifetimeSeconds",
               r.typ as "TokenType",
               r.sender_constraint as "SenderConstraint"
        from token_service.client_scope cs
        join token_service.resource r on r.id = cs.resource
        where cs.client_id = any (@ids)
        order by cs.scope, cs.resource;

        select rs.client_id as "ClientId",
               r.id as "ResourceId",
               r.signing_alg as "SigningAlgorithm",
               r.max_token_lifetime_seconds as "MaxTokenLifetimeSeconds",
               r.typ as "TokenType",
               r.sender_constraint as "SenderConstraint"
        from token_service.resource_server rs
        join token_service.resource r on r.id = rs.resource
        where rs.client_id = any (@ids)
        order by r.id;

        commit;
        """;

    private const string FindOwner = """
        select client_id
        from token_service.client_secret
        where id = @secretId
        """;

    // One set for each combination of methods; thousands of clients share it. The constraint
    // client_authentication_methods_known leaves few combinations.
    private static readonly ConcurrentDictionary<string, FrozenSet<string>> MethodSets = new(StringComparer.Ordinal);

    /// <summary>The client, or null when no client has that id.</summary>
    public async Task<Client?> FindAsync(string id, CancellationToken ct) => (await FindAsync([id], ct)).GetValueOrDefault(id);

    /// <summary>The clients with these ids, by id.</summary>
    public async Task<IReadOnlyDictionary<string, Client>> FindAsync(IReadOnlyCollection<string> ids, CancellationToken ct)
    {
        await using var connection = await postgres.OpenConnectionAsync(ct);
        await using var command = new NpgsqlCommand(Find, connection);
        command.Parameters.Add(new NpgsqlParameter<string[]>("ids", [.. ids]));
        await using var found = await command.ExecuteReaderAsync(ct);

        var clients = await found.ReadRowsAsync(found.GetRowParser<ClientRow>(), ct);
        var secrets = (await found.ReadRowsAsync(found.GetRowParser<SecretRow>(), ct))
            .ToLookup(row => row.ClientId, StringComparer.Ordinal);
        var keys = (await found.ReadRowsAsync(found.GetRowParser<KeyRow>(), ct))
            .ToLookup(row => row.ClientId, StringComparer.Ordinal);
        var scopes = (await found.ReadRowsAsync(found.GetRowParser<ScopeRow>(), ct))
            .ToLookup(row => row.ClientId, StringComparer.Ordinal);
        var resources = (await found.ReadRowsAsync(found.GetRowParser<ResourceRow>(), ct))
            .ToLookup(row => row.ClientId, StringComparer.Ordinal);
        return clients.ToDictionary(
            client => client.Id,
            client => ToClient(client, secrets[client.Id], keys[client.Id], scopes[client.Id], resources[client.Id]),
            StringComparer.Ordinal);
    }

    /// <summary>The id of the client whose secret this is, or null when there is no such secret.</summary>
    public async Task<string?> FindOwnerAsync(string secretId, CancellationToken ct)
    {
        await using var connection = await postgres.OpenConnectionAsync(ct);
        return await connection.ExecuteScalarAsync<string?>(
            FindOwner, new { secretId, ct }, commandTimeout: connection.CommandTimeout);
    }

    private static Client ToClient(
        ClientRow client,
        IEnumerable<SecretRow> secrets,
        IEnumerable<KeyRow> keys,
        IEnumerable<ScopeRow> scopes,
        IEnumerable<ResourceRow> resources) => new()
        {
            Id = client.Id,
            IsEnabled = client.Enabled,
            AuthenticationMethods = ToSet(client.AuthenticationMethods),
            TokenLifetime = client.TokenLifetimeSeconds is { } seconds ? TimeSpan.FromSeconds(seconds) : null,
            TokensPerMinute = client.TokensPerMinute,
            ExtraClaims = ToClaims(client.ExtraClaims),
            Secrets = [.. secrets.Select(ToSecret)],
            Keys = [.. keys.Select(ToKey)],
            RequiresDpop = RequiresDpop(client.SenderConstraint),
            TokenEndpointAudienceUntil = client.TokenEndpointAudienceUntil,
            Scopes = [.. scopes.Select(row => new HeldScope(row.Name, row.ToResource(), row.IsDefault))],
            Resources = [.. resources.Select(row => row.ToResource())],
            TokensNotBefore = client.TokensNotBefore,
        };

    private static FrozenSet<string> ToSet(string[] methods) =>
        MethodSets.GetOrAdd(
            string.Join(' ', methods.Distinct().Order(StringComparer.Ordinal)), _ => methods.ToFrozenSet(StringComparer.Ordinal));

    private static IReadOnlyDictionary<string, JsonElement> ToClaims(string json) => json == "{}"
        ? FrozenDictionary<string, JsonElement>.Empty
        : JsonElement.Parse(json).EnumerateObject().ToDictionary(claim => claim.Name, claim => claim.Value, StringComparer.Ordinal);

    private static ClientSecret ToSecret(SecretRow row) => new()
    {
        Id = row.Id,
        // The constraint client_secret_digest_is_argon2id refuses anything else.
        Digest = Argon2Digest.TryParse(row.Digest, out var digest)
            ? digest
            : throw new InvalidOperationException($"The digest of secret {row.Id} is not one the database should accept."),
        NotBefore = row.NotBefore,
        ExpiresAt = row.ExpiresAt,
        RevokedAt = row.RevokedAt,
        HasBegun = row.HasBegun,
        IsOver = row.IsOver,
        Kept = row is { VerifiedMac: { } mac, VerifiedUnder: { } keyId } ? new KeptMac(keyId, SecretMac.Of(mac)) : null,
    };

    private static ClientKey ToKey(KeyRow row) => new()
    {
        Kid = row.Kid,
        Id = CredentialId.OfKey(row.ClientId, row.Kid),
        Algorithm = row.Algorithm,
        Jwk = PublicJwk.TryRead(JsonElement.Parse(row.PublicJwk), out var jwk, out _) ? jwk : null,
        NotBefore = row.NotBefore,
        ExpiresAt = row.ExpiresAt,
        RevokedAt = row.RevokedAt,
        HasBegun = row.HasBegun,
        IsOver = row.IsOver,
    };

    private static bool RequiresDpop(string? constraint) => constraint switch
    {
        null => false,
        "dpop" => true,
        // The function is_sender_constraint refuses anything else.
        _ => throw new InvalidOperationException("The sender constraint is not one the database should accept."),
    };

    // Properties and no constructor: Dapper does not find a constructor that takes an array.
    internal sealed record ClientRow
    {
        public required string Id { get; init; }
        public required bool Enabled { get; init; }
        public required string[] AuthenticationMethods { get; init; }
        public required int? TokenLifetimeSeconds { get; init; }
        public required int? TokensPerMinute { get; init; }
        public required string ExtraClaims { get; init; }
        public required string? SenderConstraint { get; init; }
        public required DateTime? TokenEndpointAudienceUntil { get; init; }
        public required DateTime? TokensNotBefore { get; init; }
    }

    internal record ResourceRow
    {
        public required string ClientId { get; init; }
        public required string ResourceId { get; init; }
        public required string? SigningAlgorithm { get; init; }
        public required int? MaxTokenLifetimeSeconds { get; init; }
        public required string TokenType { get; init; }
        public required string? SenderConstraint { get; init; }

        public Resource ToResource() => new(
            ResourceId,
            SigningAlgorithm,
            MaxTokenLifetimeSeconds is { } seconds ? TimeSpan.FromSeconds(seconds) : null,
            TokenType,
            RequiresDpop(SenderConstraint));
    }

    internal sealed record ScopeRow : ResourceRow
    {
        public required string Name { get; init; }
        public required bool IsDefault { get; init; }
    }

    internal sealed record KeyRow
    {
        public required string ClientId { get; init; }
        public required string Kid { get; init; }
        public required string Algorithm { get; init; }
        public required string PublicJwk { get; init; }
        public required DateTime NotBefore { get; init; }
        public required DateTime? ExpiresAt { get; init; }
        public required DateTime? RevokedAt { get; init; }
        public required bool HasBegun { get; init; }
        public required bool IsOver { get; init; }
    }

    internal sealed record SecretRow
    {
        public required string ClientId { get; init; }
        public required string Id { get; init; }
        public required string Digest { get; init; }
        public required DateTime NotBefore { get; init; }
        public required DateTime? ExpiresAt { get; init; }
        public required DateTime? RevokedAt { get; init; }
        public required bool HasBegun { get; init; }
        public required bool IsOver { get; init; }
        public required byte[]? VerifiedMac { get; init; }
        public required string? VerifiedUnder { get; init; }
    }
}
