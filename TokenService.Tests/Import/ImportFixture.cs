using Npgsql;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Import;

/// <summary>A database for each test, a folder for its files, and the program as an admin runs it.</summary>
public abstract class ImportFixture
{
    private protected Database Database { get; private set; } = null!;

    private protected string Folder { get; private set; } = null!;

    private protected string SecretsFile => Path.Combine(Folder, "new-secrets.csv");

    [SetUp]
    public async Task Begin()
    {
        Database = await Database.CreateAsync();
        Folder = Directory.CreateTempSubdirectory("import").FullName;
    }

    [TearDown]
    public async Task End()
    {
        Directory.Delete(Folder, recursive: true);
        await Database.DisposeAsync();
    }

    /// <summary>An export that stands beside the tests.</summary>
    protected static string Export(string name) => Repository.PathTo("TokenService.Tests", "Import", "Files", name);

    /// <summary>An export with this content.</summary>
    protected string Written(string content)
    {
        var path = Path.Combine(Folder, Guid.NewGuid().ToString("N"));
        File.WriteAllText(path, content);
        return path;
    }

    /// <summary>The settings of an admin, with the cheapest digests.</summary>
    private protected (string, string)[] Environment(int memoryKiB = 8192) =>
    [
        ("ConnectionStrings__TokenService",
            new NpgsqlConnectionStringBuilder(Database.ConnectionString) { Options = "-c role=token_service_admin" }.ConnectionString),
        ("Hashing__MemoryKiB", $"{memoryKiB}"), ("Hashing__Iterations", "1"),
    ];

    private protected Task<Tool> ImportAsync(string from, string file, params string[] options) =>
        Tool.TokenServiceAsync(["import", "--from", from, file, .. options], environment: Environment());

    /// <summary>The clients with new secrets, as their file has them.</summary>
    private protected Dictionary<string, string> NewSecrets() => File.ReadAllLines(SecretsFile).Skip(1)
        .Select(line => line.Split(',')).ToDictionary(fields => fields[0], fields => fields[^1]);

    /// <summary>The last entry of the audit log: another one after each change.</summary>
    private protected Task<long> LastChangeAsync() =>
        Database.ReadAsync<long>("select coalesce(max(id), 0) from token_service.audit_log");
}
