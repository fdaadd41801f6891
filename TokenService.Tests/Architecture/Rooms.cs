using System.Text.RegularExpressions;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Architecture;

/// <summary>
/// Each folder of the program is a room. A room uses only the rooms before it in <c>Plan</c> and nothing of the root
/// namespace, and only Endpoints uses HttpContext.
/// </summary>
[TestFixture]
public sealed partial class Rooms
{
    private static readonly string[] Plan =
    [
        "Configuration", "Protocol", "Jose", "Telemetry", "Postgres", "Caching", "Audit", "Secrets", "Clients", "Usage", "Keys",
        "Limits", "Proofs", "Authentication", "Tokens", "Revocation", "Endpoints", "Commands",
    ];

    private static readonly string Project = Repository.PathTo("TokenService");

    // Server in the root namespace uses every room, so a room that used Server would use every room too.
    private static readonly string[] RootTypes =
    [
        .. Directory.GetFiles(Project, "*.cs")
            .SelectMany(file => DeclaredType().Matches(File.ReadAllText(file)).Select(type => type.Groups[1].Value)),
    ];

    [Test]
    public void Every_folder_is_a_room() =>
        Assert.That(
            Directory.GetDirectories(Project).Select(Path.GetFileName).Except(["bin", "obj"]),
            Is.Not.Empty.And.SubsetOf(Plan));

    [Test]
    public void A_room_uses_only_rooms_before_it()
    {
        var files = Directory.GetFiles(Project, "*.cs")
            .Concat(Plan.Select(room => Path.Combine(Project, room)).Where(Directory.Exists)
                .SelectMany(room => Directory.GetFiles(room, "*.cs", SearchOption.AllDirectories)))
            .ToList();

        Assert.That(files, Has.Count.GreaterThan(Plan.Length));
        Assert.That(
            files.SelectMany(file => Defects(RoomOf(file), File.ReadAllText(file)).Select(defect => $"{file}: {defect}")), Is.Empty);
    }

    [TestCase("Keys", "namespace TokenService.Keys; // TokenService.Tokens, HttpContext", ExpectedResult = "")]
    [TestCase("Keys", "using TokenService.Protocol; namespace TokenService.Keys;", ExpectedResult = "")]
    [TestCase("Keys", "using TokenService.Tokens; namespace TokenService.Keys;", ExpectedResult = "uses Tokens")]
    [TestCase("Keys", "using static TokenService.Limits.X; namespace TokenService.Keys;", ExpectedResult = "uses Limits")]
    [TestCase("Keys", "namespace TokenService.Keys; class A : global::TokenService.Tokens.B;", ExpectedResult = "uses Tokens")]
    [TestCase("Keys", "namespace TokenService.Keys; class A : Tokens.B;", ExpectedResult = "uses Tokens")]
    [TestCase("Keys", "namespace TokenService.Keys; class A { int B(C c) => c.Tokens.D; }", ExpectedResult = "")]
    [TestCase("Keys", "namespace TokenService.Clients;", ExpectedResult = "is in namespace TokenService.Clients")]
    [TestCase("Keys", "namespace TokenService.Keys; class A(HttpContext b);", ExpectedResult = "mentions HttpContext")]
    [TestCase("Keys", "namespace TokenService.Keys; class A(IHttpContextAccessor b);", ExpectedResult = "mentions HttpContext")]
    [TestCase("Endpoints", "using TokenService.Keys; namespace TokenService.Endpoints; class A(HttpContext b);", ExpectedResult = "")]
    [TestCase("Endpoints", "using TokenService.Commands; namespace TokenService.Endpoints;", ExpectedResult = "uses Commands")]
    [TestCase("Keys", "namespace TokenService.Keys; class A { B C = Server.Build(); }", ExpectedResult = "uses Server of the root")]
    [TestCase("Keys", "namespace TokenService.Keys; class A { B C = x.Server; }", ExpectedResult = "")]
    [TestCase("", "using TokenService.Commands; namespace TokenService; class A(HttpContext b);", ExpectedResult = "")]
    public string Each_kind_of_forbidden_use_is_detected(string room, string source) =>
        string.Join(", ", Defects(room, source));

    private static string RoomOf(string file)
    {
        var folder = Path.GetDirectoryName(Path.GetRelativePath(Project, file))!;
        return folder.Split(Path.DirectorySeparatorChar)[0];
    }

    private static IEnumerable<string> Defects(string room, string source)
    {
        var code = Comment().Replace(source, "");
        var expected = room.Length == 0 ? "TokenService" : $"TokenService.{room}";
        // A file of top-level statements, such as Program.cs, declares no namespace.
        if (Namespace().Match(code) is { Success: true } declared && declared.Groups[1].Value != expected)
            yield return $"is in namespace {declared.Groups[1].Value}";
        if (room.Length == 0)
            yield break;

        foreach (var later in Plan[(Array.IndexOf(Plan, room) + 1)..])
        {
            if (Regex.IsMatch(code, $@"(?<![\w.])(TokenService\.{later}\b|{later}\.[A-Z])"))
                yield return $"uses {later}";
        }

        foreach (var type in RootTypes)
        {
            if (Regex.IsMatch(code, $@"(?<![\w.]){type}\b"))
                yield return $"uses {type} of the root";
        }

        if (room != "Endpoints" && code.Contains("HttpContext", StringComparison.Ordinal))
            yield return "mentions HttpContext";
    }

    [GeneratedRegex("//.*")]
    private static partial Regex Comment();

    [GeneratedRegex(
        @"^(?:internal |public |static |sealed |partial )*(?:class|record|struct|enum|interface) (\w+)",
        RegexOptions.Multiline)]
    private static partial Regex DeclaredType();

    [GeneratedRegex(@"\bnamespace\s+([\w.]+)")]
    private static partial Regex Namespace();
}
