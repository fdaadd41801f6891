using Npgsql;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Startup;

/// <summary>
/// <c>scripts/postgres</c> as root. It runs the server as the user postgres, who may be hostile, and who may put a
/// symbolic link to something of root's in the place of anything in its own folders.
/// </summary>
[TestFixture]
public sealed class PostgresAsRoot
{
    private const string Content = "This belongs to root.";

    private readonly string data = $"/tmp/tsvc-test-{Guid.NewGuid():N}";
    private string rootFile = "";
    private string rootFolder = "";
    private string before = "";

    [OneTimeSetUp]
    public async Task MakeData()
    {
        if (!Environment.IsPrivilegedProcess)
            Assert.Ignore("Only as root does scripts/postgres run its server as another user, and these tests do not run as root.");
        if ((await Tool.RunAsync("id", ["postgres"])).ExitCode != 0)
            Assert.Ignore("These tests act as the user postgres, and this machine has no such user.");
        await PostgresScript.IgnoreWithoutBinariesAsync("This runs a PostgreSQL of its own.");
        await ShellAsync($"umask 022; mkdir {data}");
        Works(await RunAsync(data));
    }

    [OneTimeTearDown]
    public Task RemoveData() => Tool.RunAsync("rm", ["-rf", data]);

    [SetUp]
    public async Task MakeWhatBelongsToRoot()
    {
        rootFolder = $"/tmp/tsvc-test-{Guid.NewGuid():N}";
        rootFile = $"{rootFolder}/file";
        // PostgreSQL has files of the last two names, which the script removes.
        await ShellAsync($"umask 022; mkdir -p {rootFolder}/folder && cd {rootFolder} && echo '{Content}' >file && cd folder && "
            + "for copy in file .s.PGSQL.5432 postmaster.pid; do cp ../file $copy; done");
        before = await DescribeAsync();
    }

    [TearDown]
    public async Task RemoveWhatBelongsToRoot()
    {
        await ShellAsync($"rm -rf {rootFolder}");
        await AsPostgresAsync($"cd {data}/local && find . -type l -exec rm {{}} +");
    }

    [Test]
    public async Task Root_follows_no_link_in_the_servers_folder(
        [Values("log", "alive", "socket", "cluster/postmaster.pid")] string place, [Values("file", "folder")] string target)
    {
        await LinkAsync(place, target);
        var run = await RunAsync(data);

        await IsUntouchedAsync();
        Works(run);
    }

    [Test]
    public async Task Root_follows_no_link_in_the_place_of_the_cluster()
    {
        await AsPostgresAsync($"cd {data}/local && mv cluster kept");
        await LinkAsync("cluster", "folder");
        var run = await RunAsync(data);
        await AsPostgresAsync($"cd {data}/local && rm cluster && mv kept cluster");

        await IsUntouchedAsync();
        Refuses(run, $"{data}/local/cluster/postmaster.pid");
    }

    [Test]
    public async Task Root_follows_no_link_when_it_makes_a_cluster()
    {
        await AsPostgresAsync($"cd {data}/local && mv cluster kept");
        await LinkAsync("cluster.new", "folder");
        await LinkAsync("cluster", "file");
        var run = await RunAsync(data);
        await AsPostgresAsync($"cd {data}/local && rm cluster && mv kept cluster");

        await IsUntouchedAsync();
        Refuses(run, $"{data}/local/cluster.new");
    }

    [Test]
    public async Task The_log_of_a_failed_start_is_read_as_the_servers_user()
    {
        await ShellAsync($"chmod 600 {rootFile}");
        before = await DescribeAsync();
        // The server runs this command as it starts. With exit code 127, the start fails.
        var configuration = $"restore_command = 'ln -sf {rootFile} {data}/local/log; exit 127'";
        await AsPostgresAsync($"cd {data}/local/cluster && touch recovery.signal && cat >postgresql.auto.conf", configuration);
        var run = await RunAsync(data);
        await AsPostgresAsync($"cd {data}/local/cluster && rm recovery.signal && : >postgresql.auto.conf");

        await IsUntouchedAsync();
        Refuses(run, "scripts/postgres: PostgreSQL did not start");
        Assert.That(run.Error, Does.Not.Contain(Content));
    }

    [TestCase("chown postgres", "belongs to another user; remove it, or run as the user who made it")]
    [TestCase("chmod 777", "remove it, or run chmod go-w on it")]
    public async Task A_folder_that_the_servers_user_may_change_is_refused(string change, string message)
    {
        var folder = $"{data}/{change.Split(' ')[0]}";
        await ShellAsync($"mkdir {folder} && {change} {folder}");
        await AsPostgresAsync($"ln -s {rootFile} {folder}/lock");
        var run = await RunAsync(folder);

        await IsUntouchedAsync();
        Refuses(run, message);
    }

    [Test]
    public async Task The_servers_user_cannot_change_the_folder_of_a_throwaway_cluster()
    {
        string folder;
        await using (var postgres = await PostgresScript.StartAsync("--throwaway"))
        {
            await using var database = NpgsqlDataSource.Create($"{postgres.ConnectionString};Pooling=false");
            await using var show = database.CreateCommand("show data_directory");
            var cluster = (string)(await show.ExecuteScalarAsync())!;
            folder = Path.GetFullPath($"{cluster}/../..");
            Assert.That(File.Exists($"{folder}/lock"), Is.True);
            var attempt = await TryAsPostgresAsync($"ln -sf {rootFile} {folder}/lock");
            Assert.That(attempt.ExitCode, Is.Not.Zero);
            Assert.That(attempt.Error, Does.Contain("Permission denied"));
        }

        Assert.That(Directory.Exists(folder), Is.False);
        await IsUntouchedAsync();
    }

    // Without input the script stops as soon as the database answers.
    private static Task<Tool> RunAsync(string folder) => Tool.RunAsync("bash", [PostgresScript.Path, "--engine", "local", folder]);

    private static void Works(Tool run)
    {
        Assert.That(run.ExitCode, Is.Zero, run.Error);
        Assert.That(run.Output, Does.StartWith("Host="));
    }

    private static void Refuses(Tool run, string message)
    {
        using (Assert.EnterMultipleScope())
        {
            Assert.That(run.ExitCode, Is.EqualTo(1));
            Assert.That(run.Output, Is.Empty);
            Assert.That(run.Error, Does.Contain(message));
        }
    }

    private async Task LinkAsync(string place, string target) =>
        await AsPostgresAsync($"cd {data}/local && rm -rf {place} && ln -s {rootFolder}/{target} {place}");

    private async Task IsUntouchedAsync() => Assert.That(await DescribeAsync(), Is.EqualTo(before));

    // Modes, owners, sizes, names and contents.
    private Task<string> DescribeAsync() => ShellAsync($"cd {rootFolder} && ls -lnAR && find . -type f -exec cat {{}} +");

    private static async Task<string> ShellAsync(string command) => Succeeds(await Tool.RunAsync("sh", ["-c", command]));

    private static async Task<string> AsPostgresAsync(string command, string input = "") =>
        Succeeds(await TryAsPostgresAsync(command, input));

    private static Task<Tool> TryAsPostgresAsync(string command, string input = "") =>
        Tool.RunAsync("su", ["-s", "/bin/sh", "-c", command, "postgres"], input);

    private static string Succeeds(Tool tool)
    {
        Assert.That(tool.ExitCode, Is.Zero, tool.Error);
        return tool.Output;
    }
}
