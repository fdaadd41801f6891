using System.Text.RegularExpressions;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Schema;

/// <summary>The diagram in <c>migrations/README.md</c> is the one that the script prints.</summary>
[TestFixture]
public sealed partial class SchemaDiagram
{
    [Test]
    public async Task The_diagram_in_the_readme_shows_the_schema()
    {
        await using var database = await Database.CreateAsync();
        var psql = await Psql.ScriptAsync(database, "schema-diagram.sql", [], "-qAt");
        Assert.That(psql.ExitCode, Is.Zero, psql.Error);

        var readme = await File.ReadAllTextAsync(Repository.PathTo("migrations", "README.md"));
        Assert.That(
            Drawing().Match(readme).Groups[1].Value, Is.EqualTo(psql.Output),
            "On a migrated database run: psql -qAt -f scripts/schema-diagram.sql. Put what it prints between the mermaid fences of "
            + "migrations/README.md.");
    }

    [GeneratedRegex("^```mermaid\n(.*?)^```$", RegexOptions.Multiline | RegexOptions.Singleline)]
    private static partial Regex Drawing();
}
