using System.Text.RegularExpressions;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Import;

/// <summary><c>scripts/IMPORT.md</c> says what the command does.</summary>
[TestFixture]
public sealed partial class PageForTheAdmin : ImportFixture
{
    private static readonly string Page = File.ReadAllText(Repository.PathTo("scripts", "IMPORT.md"));

    [Test]
    public async Task It_names_the_options_of_the_command()
    {
        var help = await Tool.TokenServiceAsync(["import", "--help"]);
        var options = Option().Matches(help.Output).Select(option => option.Value).Where(option => option != "--help").Distinct().ToList();

        Assert.That(options, Has.Count.EqualTo(15));
        Assert.That(options.Where(option => !Page.Contains($"`{option}", StringComparison.Ordinal) && option != "--from"), Is.Empty);
    }

    [Test]
    public async Task Its_CSV_file_is_imported()
    {
        var example = Block().Matches(Page).Select(block => block.Groups[1].Value)
            .Single(block => block.StartsWith("client_id,", StringComparison.Ordinal));

        var made = await ImportAsync("csv", Written(example), "--apply", "--secrets-file", SecretsFile);

        Assert.That((made.ExitCode, made.Output), Is.EqualTo(
            (0, "2 clients in the file: 2 made (1 with a new secret), 0 there already, 0 there but different, 0 impossible, 0 left out.\n")));
    }

    [GeneratedRegex("--[a-z-]+")]
    private static partial Regex Option();

    [GeneratedRegex("^```\n(.*?)^```", RegexOptions.Singleline | RegexOptions.Multiline)]
    private static partial Regex Block();
}
