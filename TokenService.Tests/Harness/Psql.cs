using Npgsql;

namespace TokenService.Tests.Harness;

/// <summary>PostgreSQL's own programs on a test's database, as an admin runs them.</summary>
internal static class Psql
{
    /// <summary>psql's, when ON_ERROR_STOP ends a script.</summary>
    public const int ScriptFailed = 3;

    /// <param name="database">Where it runs.</param>
    /// <param name="script">A file in <c>scripts</c>.</param>
    /// <param name="variables">As <c>name=value</c>.</param>
    /// <param name="options">Further options of psql.</param>
    public static Task<Tool> ScriptAsync(Database database, string script, string[] variables, params string[] options) => Tool.RunAsync(
        "psql",
        ["--no-psqlrc", .. options, .. variables.Select(variable => $"--set={variable}"), "-f", Repository.PathTo("scripts", script)],
        environment: Environment(database));

    /// <summary>All of a database, as SQL.</summary>
    public static async Task<string> DumpAsync(Database database)
    {
        var dump = await Tool.RunAsync("pg_dump", [], environment: Environment(database));
        Assert.That(dump.ExitCode, Is.Zero, dump.Error);
        return dump.Output;
    }

    private static (string, string)[] Environment(Database database)
    {
        var connection = new NpgsqlConnectionStringBuilder(database.ConnectionString);
        return
        [
            ("PGHOST", connection.Host!), ("PGPORT", $"{connection.Port}"), ("PGDATABASE", connection.Database!),
            ("PGUSER", connection.Username!), ("PGPASSWORD", connection.Password ?? ""),
            ("TOKEN_SERVICE", $"dotnet {Tool.Assembly}"),
        ];
    }
}
