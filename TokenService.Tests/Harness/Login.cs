using Npgsql;

namespace TokenService.Tests.Harness;

/// <summary>A login for a test's database, a member of one of the schema's group roles.</summary>
internal sealed class Login : IAsyncDisposable
{
    private readonly Database database;

    private Login(Database database, string name, string password)
    {
        this.database = database;
        Name = name;
        ConnectionString = new NpgsqlConnectionStringBuilder(database.ConnectionString)
        {
            Username = name,
            Password = password,
            ApplicationName = "a test",
        }.ConnectionString;
        Source = NpgsqlDataSource.Create(ConnectionString);
    }

    public string Name { get; }

    public string ConnectionString { get; }

    public NpgsqlDataSource Source { get; }

    /// <param name="database">The database to log in to. It must outlive the login.</param>
    /// <param name="role">token_service_admin or token_service_app; empty for none.</param>
    public static async Task<Login> CreateAsync(Database database, string role)
    {
        // Logins belong to the cluster, not to the database.
        var (name, password) = ($"tsvc_test_{Guid.NewGuid():N}", $"{Guid.NewGuid():N}");
        await database.ExecuteAsync($"create role {name} login password '{password}' {(role == "" ? "" : $"in role {role}")}");
        return new Login(database, name, password);
    }

    public async Task ExecuteAsync(string sql)
    {
        await using var command = Source.CreateCommand(sql);
        await command.ExecuteNonQueryAsync();
    }

    public async ValueTask DisposeAsync()
    {
        await Source.DisposeAsync();
        await database.ExecuteAsync($"drop owned by {Name}; drop role {Name}");
    }
}
