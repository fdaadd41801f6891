using Dapper;
using Npgsql;
using TokenService.Postgres;
using TokenService.Secrets;

namespace TokenService.Tests.Harness;

/// <summary>A client a test made, with its secret.</summary>
internal sealed record TestClient(string Id, string Secret);

/// <summary>One fixture's own database: a clone of a migrated template, dropped at the end.</summary>
internal sealed class Database : IAsyncDisposable
{
    /// <summary>The cheapest digest the database takes: tests hash often, and are not about the cost.</summary>
    public static readonly Argon2Cost Cheap = new(Argon2Cost.MinMemoryKiB, Argon2Cost.MinIterations);

    // In the name of every database of this run, and the number of the lock it holds while it lives.
    private static readonly int RunId = Random.Shared.Next();

    private static readonly string Template = NewName();

    private static NpgsqlConnection? lifeline;

    // PostgreSQL 15 and later log every page of a clone unless they are told to copy its files, as those before always do.
    private static string strategy = "";

    // Null where it goes with its server.
    private readonly string? name;

    private Database(string name)
        : this(ConnectionTo(name), ConnectionTo(name)) => this.name = name;

    private Database(string connectionString, string own)
    {
        ConnectionString = connectionString;
        Source = NpgsqlDataSource.Create(own);
    }

    public string ConnectionString { get; }

    /// <summary>As its owner.</summary>
    public NpgsqlDataSource Source { get; }

    public static async Task CreateTemplateAsync()
    {
        lifeline = new NpgsqlConnection(ConnectionToServer);
        await lifeline.OpenAsync();
        strategy = lifeline.PostgreSqlVersion.Major >= 15 ? "strategy file_copy" : "";
        await lifeline.ExecuteAsync("select pg_advisory_lock(@RunId)", new { RunId });
        await DropThoseOfDeadRunsAsync(lifeline);

        await ExecuteOnServerAsync($"create database {Template}");
        await using var source = NpgsqlDataSource.Create(ConnectionTo(Template));
        await new Migrator(source).MigrateAsync(DatabaseSchema.OfThisBuild, CancellationToken.None);
        await using var connection = await source.OpenConnectionAsync();
        // So that a test may date the making and the use of things back. Nobody's change, so not in the audit log.
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

    /// <summary>A database no migration has seen.</summary>
    public static Task<Database> CreateEmptyAsync() => CreateAsync("template template0");

    /// <summary>The migrated database of a fixture's own server, for as long as that is there.</summary>
    public static async Task<Database> CreateAsync(OwnPostgres postgres)
    {
        // A pool would hold connections from before a stop.
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

    /// <summary>A client made through the function an admin uses, with a generated secret.</summary>
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
                string_to_array(@defaultScopes, ' '), string_to_array(@methods, ' '));
            select token_service.add_secret(@id, @secretId, @digest)
            """,
            new { id, resource, scopes, secretId = secret.Selector, digest = Digest(secret.Value), defaultScopes, methods });
        return new TestClient(id, secret.Value);
    }

    /// <summary>A client that speaks for resources: it may ask what tokens for them are worth.</summary>
    public async Task<TestClient> CreateApiAsync(string id, params string[] resources)
    {
        var api = await CreateClientAsync(id, "callers:read", "callers:read", "https://callers.example.com");
        await ExecuteAsync(
            "insert into token_service.resource_server (client_id, resource) select @id, unnest(@resources)", new { id, resources });
        return api;
    }

    /// <summary>One more secret for a client, under an id of its own where it is not a generated one.</summary>
    public Task AddSecretAsync(string clientId, string secret)
    {
        var secretId = GeneratedSecret.TryParse(secret, out var generated) ? generated.Selector : ClientSecret.NewImportedId();
        return ExecuteAsync(
            "select token_service.add_secret(@clientId, @secretId, @digest)", new { clientId, secretId, digest = Digest(secret) });
    }

    /// <summary>How many wait for a lock on a table. Those of this database: in the other clones the table has the same number.</summary>
    public Task<int> WaitersForAsync(string table) => ReadAsync<int>(
        """
        select count(*)
        from pg_locks
        where not granted
          and relation = ('token_service.' || @table)::regclass
          and database = (select oid from pg_database where datname = current_database())
        """,
        new { table });

    public static string Digest(string secret) => SecretHasher.Hash(secret, Cheap)!.ToString();

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

    // A run that was killed leaves its databases on a server that outlives it. Nobody holds its lock any more.
    private static async Task DropThoseOfDeadRunsAsync(NpgsqlConnection connection)
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
