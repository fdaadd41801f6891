using Dapper;
using Npgsql;
using TokenService.Postgres;
using TokenService.Secrets;

namespace TokenService.Tests.Harness;

/// <summary>A client that a test made, with its secret.</summary>
internal sealed record TestClient(string Id, string Secret);

/// <summary>The database of one fixture: a clone of a migrated template, dropped at the end.</summary>
internal sealed class Database : IAsyncDisposable
{
    /// <summary>
    /// The lowest cost that the database accepts, because tests hash often and most are not about the cost.
    /// </summary>
    public static readonly Argon2Cost Cheap = new(Argon2Cost.MinMemoryKiB, Argon2Cost.MinIterations);

    // The names of all databases of this run contain this number, and the run holds a lock of this number until it
    // ends.
    private static readonly int RunId = Random.Shared.Next();

    private static readonly string Template = NewName();

    private static NpgsqlConnection? lifeline;

    // PostgreSQL 15 and later write every page of a clone to the WAL, unless the strategy is to copy the files. Earlier
    // versions always copy the files.
    private static string strategy = "";

    // Null when the database ends together with its server.
    private readonly string? name;

    private Database(string name)
        : this(ConnectionTo(name), ConnectionTo(name)) => this.name = name;

    private Database(string connectionString, string own)
    {
        ConnectionString = connectionString;
        Source = NpgsqlDataSource.Create(own);
    }

    public string ConnectionString { get; }

    /// <summary>Connects as the owner of the database.</summary>
    public NpgsqlDataSource Source { get; }

    public static async Task CreateTemplateAsync()
    {
        lifeline = new NpgsqlConnection(ConnectionToServer);
        await lifeline.OpenAsync();
        strategy = lifeline.PostgreSqlVersion.Major >= 15 ? "strategy file_copy" : "";
        await lifeline.ExecuteAsync("select pg_advisory_lock(@RunId)", new { RunId });
        await DropDatabasesOfDeadRunsAsync(lifeline);

        await ExecuteOnServerAsync($"create database {Template}");
        await using var source = NpgsqlDataSource.Create(ConnectionTo(Template));
        await new Migrator(source).MigrateAsync(DatabaseSchema.OfThisBuild, CancellationToken.None);
        await using var connection = await source.OpenConnectionAsync();
        // Tests may then make clients and uses with earlier dates. The triggers are off so that the audit log stays
        // empty.
        await connection.ExecuteAsync(
            """
            alter table token_service.policy disable trigger user;
            update token_service.policy set usage_counted_since = '2000-01-01Z';
            alter table token_service.policy enable trigger user;
            """);
    }

    public static async Task DropTemplateAsync()
    {
        await ExecuteOnServerAsync($"drop database {Template}");
        await lifeline!.DisposeAsync();
    }

    /// <summary>A clone of the migrated template.</summary>
    public static Task<Database> CreateAsync() => CreateAsync($"template {Template}");

    /// <summary>A database without the schema.</summary>
    public static Task<Database> CreateEmptyAsync() => CreateAsync("template template0");

    /// <summary>The migrated database on a fixture's own PostgreSQL. It ends together with that server.</summary>
    public static async Task<Database> CreateAsync(OwnPostgres postgres)
    {
        // A pool would keep connections from before PostgreSQL was stopped.
        var database = new Database(postgres.ConnectionString, $"{postgres.ConnectionString};Pooling=false");
        await new Migrator(database.Source).MigrateAsync(DatabaseSchema.OfThisBuild, CancellationToken.None);
        return database;
    }

    public async ValueTask DisposeAsync()
    {
        await Source.DisposeAsync();
        if (name is not null)
            await ExecuteOnServerAsync($"drop database {name} with (force)");
    }

    /// <summary>Makes the functions of administration use an instant instead of the present one.</summary>
    /// <param name="instant">A timestamptz in SQL, such as <c>'2040-01-31Z'</c>.</param>
    public Task SetInstantAsync(string instant) => ExecuteAsync(
        $"""
        create or replace function token_service.instant() returns timestamptz language sql stable
        set search_path = pg_catalog as $$ select ({instant})::timestamptz $$
        """);

    public Task SetInstantAsync(DateTimeOffset instant) => SetInstantAsync($"'{instant:O}'");

    /// <summary>Withdraws a signing key at an instant of a server's clock.</summary>
    public async Task WithdrawKeyAsync(string? kid, DateTimeOffset now)
    {
        await SetInstantAsync(now);
        await ExecuteAsync("select token_service.withdraw_signing_key(@kid)", new { kid });
    }

    public async Task ExecuteAsync(string sql, object? parameters = null)
    {
        await using var connection = await Source.OpenConnectionAsync();
        await connection.ExecuteAsync(sql, parameters);
    }

    public async Task<T?> ReadAsync<T>(string sql, object? parameters = null)
    {
        await using var connection = await Source.OpenConnectionAsync();
        return await connection.ExecuteScalarAsync<T>(sql, parameters);
    }

    /// <summary>Makes a client with a generated secret, through the functions that an admin uses.</summary>
    public async Task<TestClient> CreateClientAsync(
        string id,
        string scopes = "invoices:read invoices:write",
        string defaultScopes = "invoices:read",
        string resource = "https://api.example.com",
        string methods = "client_secret_basic client_secret_post")
    {
        var secret = GeneratedSecret.Create();
        await ExecuteAsync(
            """
            select token_service.create_client(
                @id, 'A client of a test', @resource, string_to_array(@scopes, ' '),
                string_to_array(@defaultScopes, ' '), string_to_array(@methods, ' '), p_imported => true);
            select token_service.add_secret(@id, @secretId, @digest)
            """,
            new { id, resource, scopes, secretId = secret.Selector, digest = Digest(secret.Value), defaultScopes, methods });
        return new TestClient(id, secret.Value);
    }

    /// <summary>Makes a client that may introspect the tokens for these resources.</summary>
    public async Task<TestClient> CreateApiAsync(string id, params string[] resources)
    {
        var api = await CreateClientAsync(id, "callers:read", "callers:read", "https://callers.example.com");
        await ExecuteAsync(
            "insert into token_service.resource_server (client_id, resource) select @id, unnest(@resources)", new { id, resources });
        return api;
    }

    /// <summary>Adds a secret to a client. A secret that is not a generated one gets a new id.</summary>
    public Task AddSecretAsync(string clientId, string secret)
    {
        var secretId = GeneratedSecret.TryParse(secret, out var generated) ? generated.Selector : ClientSecret.NewImportedId();
        return ExecuteAsync(
            "select token_service.add_secret(@clientId, @secretId, @digest)", new { clientId, secretId, digest = Digest(secret) });
    }

    /// <summary>Makes a client that authenticates with a key, whose kid is k1.</summary>
    public async Task<TestKey> CreateKeyClientAsync(string id, string algorithm = "ES256", TestKey? key = null)
    {
        key ??= TestKey.Create(algorithm);
        await CreateClientAsync(id, methods: "private_key_jwt");
        await AddKeyAsync(id, key);
        return key;
    }

    public Task AddKeyAsync(string clientId, TestKey key, string kid = "k1") => ExecuteAsync(
        """
        insert into token_service.client_key (client_id, kid, alg, public_jwk)
        values (@clientId, @kid, @Algorithm, @jwk::jsonb)
        """,
        new { clientId, kid, key.Algorithm, jwk = key.Jwk.ToJsonString() });

    /// <summary>
    /// How many sessions wait for a lock on a table of this database. The condition on the database is needed, because
    /// a table has the same oid in every clone.
    /// </summary>
    public Task<int> WaitersForAsync(string table) => ReadAsync<int>(
        """
        select count(*)
        from pg_locks
        where not granted
          and relation = ('token_service.' || @table)::regclass
          and database = (select oid from pg_database where datname = current_database())
        """,
        new { table });

    public static string Digest(string secret) => Run.Hasher.Hash(secret, Cheap)!.ToString();

    private static async Task<Database> CreateAsync(string origin)
    {
        var name = NewName();
        await ExecuteOnServerAsync($"create database {name} {origin} {strategy}");
        return new Database(name);
    }

    private static string NewName() => $"tsvc_test_{RunId}_{Guid.NewGuid():N}";

    private static string ConnectionTo(string database) =>
        new NpgsqlConnectionStringBuilder(Run.ConnectionString) { Database = database }.ConnectionString;

    private static string ConnectionToServer =>
        new NpgsqlConnectionStringBuilder(Run.ConnectionString) { Pooling = false }.ConnectionString;

    private static async Task ExecuteOnServerAsync(string sql)
    {
        await using var connection = new NpgsqlConnection(ConnectionToServer);
        await connection.ExecuteAsync(sql);
    }

    // A run that was killed leaves its databases on a server that outlives it. The lock of its number is then free.
    private static async Task DropDatabasesOfDeadRunsAsync(NpgsqlConnection connection)
    {
        var dead = await connection.QueryAsync<string>(
            """
            select datname
            from pg_database
            where datname ~ '^tsvc_test_[0-9]+_'
              and split_part(datname, '_', 3) <> @runId
              and not exists (
                  select from pg_locks
                  where locktype = 'advisory' and classid = 0 and objid::text = split_part(datname, '_', 3))
            """,
            new { runId = $"{RunId}" });
        foreach (var name in dead)
            await connection.ExecuteAsync($"drop database if exists {name} with (force)");
    }
}
