using System.Xml.Linq;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Architecture;

/// <summary>Directory.Build.props holds the version of every package.</summary>
[TestFixture]
public sealed class Packages
{
    // Readers copy this project without the file above it, so it states versions itself.
    private const string Copied = "scripts/examples/aspnetcore-api/Examples.Api.csproj";

    private static readonly string[] Folders = ["TokenService", "TokenService.Tests", "scripts"];

    private static readonly Dictionary<string, string> Versions = XDocument.Load(Repository.PathTo("Directory.Build.props"))
        .Descendants("PropertyGroup").Where(group => (string?)group.Attribute("Label") == "Packages").Elements()
        .ToDictionary(property => $"$({property.Name})", property => property.Value);

    private static readonly IReadOnlyList<Reference> References = [.. Projects().SelectMany(In)];

    [Test]
    public void Every_project_takes_the_versions_of_its_packages_from_one_file()
    {
        Assert.That(References, Is.Not.Empty);
        Assert.That(
            References.Where(reference => reference.Project != Copied && !Versions.ContainsKey(reference.Version)), Is.Empty,
            "a version belongs into Directory.Build.props");
    }

    [Test]
    public void A_version_that_no_project_uses_is_not_in_the_file() =>
        Assert.That(Versions.Keys, Is.EquivalentTo(
            References.Where(reference => reference.Project != Copied).Select(reference => reference.Version).Distinct()));

    [Test]
    public void A_project_that_readers_copy_has_the_versions_that_the_tests_use()
    {
        var tested = References.Where(reference => reference.Project.StartsWith("TokenService.Tests/", StringComparison.Ordinal))
            .ToDictionary(reference => reference.Package, reference => Versions[reference.Version]);

        var copied = References.Where(reference => reference.Project == Copied).ToList();

        Assert.That(copied, Is.Not.Empty);
        Assert.That(
            copied.Select(reference => (reference.Package, reference.Version)),
            Is.EqualTo(copied.Select(reference => (reference.Package, tested[reference.Package]))));
    }

    private static IEnumerable<string> Projects() =>
        Folders.SelectMany(folder => Directory.EnumerateFiles(Repository.PathTo(folder), "*.csproj", SearchOption.AllDirectories));

    private static IEnumerable<Reference> In(string project) =>
        XDocument.Load(project).Descendants("PackageReference").Select(reference => new Reference(
            Path.GetRelativePath(Repository.PathTo(), project),
            (string)reference.Attribute("Include")!,
            (string?)reference.Attribute("Version") ?? ""));

    private sealed record Reference(string Project, string Package, string Version);
}
