using System.Text.RegularExpressions;
using Npgsql;

namespace TokenService.Tests.Harness;

/// <summary>PostgreSQL's own programs on a test's database, as an admin runs them.</summary>
internal static partial class Psql
{
    /// <summary>The exit code of psql when ON_ERROR_STOP ends a script.</summary>
    public const int ScriptFailed = 3;

    private const string AsAdmin = "-c role=token_service_admin";

    /// <param name="database">The database it runs in, with the rights of an admin.</param>
    /// <param name="script">A file in <c>scripts</c>.</param>
    /// <param name="variables">As <c>name=value</c>.</param>
    /// <param name="options">Further options of psql.</param>
    public static Task<Tool> ScriptAsync(Database database, string script, string[] variables, params string[] options) => Tool.RunAsync(
        "psql",
        ["--no-psqlrc", .. options, .. variables.Select(variable => $"--set={variable}"), "-f", Repository.PathTo("scripts", script)],
        environment: Environment(database, AsAdmin));

    /// <summary>A command as it stands in the runbook, pasted into a shell at the top of the checkout.</summary>
    public static Task<Tool> ShellAsync(Database database, string command) => Tool.RunAsync(
        "bash", ["-c", "cd \"$0\" && " + command, Repository.Root],
        environment: [.. Environment(database, AsAdmin), ("PSQLRC", "/dev/null")]);

    /// <summary>All of a database, as SQL.</summary>
    public static async Task<string> DumpAsync(Database database, params string[] options)
    {
        var dump = await Tool.RunAsync("pg_dump", options, environment: Environment(database, options: ""));
        Assert.That(dump.ExitCode, Is.Zero, dump.Error);
        return dump.Output;
    }

    /// <summary>Fills an empty database from a dump, as its owner.</summary>
    public static async Task RestoreAsync(Database database, string dump)
    {
        var psql = await Tool.RunAsync(
            "psql", ["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--single-transaction"], dump, Environment(database, options: ""));
        Assert.That(psql.ExitCode, Is.Zero, psql.Error);
    }

    /// <summary>It succeeded and printed these lines: cells without padding, dates as <c>DATE</c>, no ruler, no count of rows.</summary>
    public static void Prints(this Tool psql, params string[] lines)
    {
        using (Assert.EnterMultipleScope())
        {
            Assert.That(psql.ExitCode, Is.Zero, psql.Error);
            Assert.That(psql.Error, Is.Empty);
            Assert.That(Lines(psql.Output), Is.EqualTo(lines));
        }
    }

    /// <summary>The script was refused with this message and this hint, and printed nothing else.</summary>
    public static void IsRefused(this Tool psql, string message, string hint)
    {
        using (Assert.EnterMultipleScope())
        {
            Assert.That(psql.ExitCode, Is.EqualTo(ScriptFailed));
            Assert.That(psql.Error, Does.Match(@"^psql:\S+:\d+: ERROR:  " + Regex.Escape($"{message}\nHINT:  {hint}\n") + "$"));
            Assert.That(psql.Output, Is.Empty);
        }
    }

    public static string[] Lines(string output) =>
    [
        .. output.Split('\n')
            .Where(line => !NoContent().IsMatch(line))
            .Select(line => string.Join('|', line.Split('|').Select(cell => Date().Replace(cell, "DATE").Trim()))),
    ];

    [GeneratedRegex(@"^([-+]*|\(\d+ rows?\))$")]
    private static partial Regex NoContent();

    [GeneratedRegex(@"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\+00")]
    public static partial Regex Date();

    private static (string, string)[] Environment(Database database, string options)
    {
        var connection = new NpgsqlConnectionStringBuilder(database.ConnectionString);
        return
        [
            ("PGHOST", connection.Host!), ("PGPORT", $"{connection.Port}"), ("PGDATABASE", connection.Database!),
            ("PGUSER", connection.Username!), ("PGPASSWORD", connection.Password ?? ""), ("PGOPTIONS", options), ("PGTZ", "UTC"),
            ("TOKEN_SERVICE", string.Join(' ', Tool.Command)),
        ];
    }
}
