using System.Text.RegularExpressions;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Architecture;

/// <summary>
/// Dapper's calls are replaced at build time, since the native build cannot make code at run time. The replacement
/// ignores some of what Dapper takes, and says nothing; so no call uses that.
/// </summary>
[TestFixture]
public sealed partial class DapperCalls
{
    private static readonly string[] Files =
    [
        .. Directory.GetFiles(Repository.PathTo("TokenService"), "*.cs", SearchOption.AllDirectories)
            .Where(file => !file.Contains("/obj/", StringComparison.Ordinal) && File.ReadAllText(file).Contains("using Dapper;")),
    ];

    [Test]
    public void Each_has_the_time_limit_of_its_connection()
    {
        var calls = Files.SelectMany(file => Call().Matches(File.ReadAllText(file)).Select(call => $"{file}: {call.Value}")).ToList();

        Assert.That(calls, Has.Count.GreaterThan(20));
        Assert.That(calls, Has.All.Contains("commandTimeout: connection.CommandTimeout"));
    }

    [Test]
    public void None_has_a_form_that_is_not_replaced() =>
        Assert.That(Files.Where(file => NotReplaced().IsMatch(File.ReadAllText(file))), Is.Empty);

    // Up to the end of the statement, or to the next case of a switch.
    [GeneratedRegex(@"connection\.(?:ExecuteAsync|ExecuteScalarAsync<|QueryAsync<)[\s\S]*?(?=;\r?\n|\r?\n        KeyStep\.)")]
    private static partial Regex Call();

    // A CancellationToken without other parameters is ignored.
    [GeneratedRegex(@"CommandDefinition|DynamicParameters|QueryMultiple|new \{ ct \}|(?:ExecuteAsync|Async<[^(]*>)\(new\(")]
    private static partial Regex NotReplaced();
}
