using System.Globalization;
using TokenService.Protocol;

namespace TokenService.Commands;

/// <summary>The command line of <c>import</c>.</summary>
internal sealed record ImportOptions
{
    private static readonly Dictionary<string, Func<string, ClientExport>> Readers = new(StringComparer.Ordinal)
    {
        ["keycloak"] = KeycloakExport.Read,
        ["auth0"] = Auth0Export.Read,
        ["hydra"] = HydraExport.Read,
        ["csv"] = CsvExport.Read,
    };

    public required string From { get; init; }

    public required string File { get; init; }

    public bool Apply { get; init; }

    /// <summary>The API of scopes for which the export names none.</summary>
    public string? Resource { get; init; }

    /// <summary>The scopes of clients that have none at an API.</summary>
    public IReadOnlyList<string> Scopes { get; init; } = [];

    /// <summary>Whether a request that names no scope gets all of them, or none; null: as the export says.</summary>
    public bool? AllAreDefaults { get; init; }

    /// <summary>The resource that stands for an audience of the export.</summary>
    public IReadOnlyDictionary<string, string> Resources { get; init; } = new Dictionary<string, string>();

    /// <summary>Clients that get another id.</summary>
    public IReadOnlyDictionary<string, string> Ids { get; init; } = new Dictionary<string, string>();

    public bool NewSecrets { get; init; }

    /// <summary>Clients that get a new secret although the export has one.</summary>
    public IReadOnlyList<string> NewSecretFor { get; init; } = [];

    /// <summary>Clients that are not brought.</summary>
    public IReadOnlyList<string> Skipped { get; init; } = [];

    /// <summary>Clients that are brought without extra claims.</summary>
    public IReadOnlyList<string> NoClaimsFor { get; init; } = [];

    public string? SecretsFile { get; init; }

    /// <summary>The algorithm of APIs that are made; null: as the export says, else the server's.</summary>
    public string? SigningAlgorithm { get; init; }

    public bool WithClaims { get; init; } = true;

    /// <summary>How many secrets are hashed at once.</summary>
    public int Cores { get; init; } = DefaultCores;

    private static int DefaultCores => Math.Max(1, Environment.ProcessorCount - 1);

    public ClientExport Read() => Readers[From](File);

    /// <returns>The options, or null and what is wrong with the command line.</returns>
    public static ImportOptions? Parse(IReadOnlyList<string> args, out string? wrong)
    {
        var options = new ImportOptions { From = "", File = "" };
        wrong = null;
        for (var i = 0; i < args.Count; i++)
        {
            var (name, value, hasValue) = args[i] switch
            {
                var flag and ("--apply" or "--new-secrets" or "--no-claims") => (flag, "", false),
                ['-', '-', ..] => (args[i], i + 1 < args.Count ? args[i + 1] : null, true),
                var file => ("FILE", file, false),
            };
            if (value is null)
                wrong = $"{name} needs a value.";
            else
                options = options.With(name, value, ref wrong);
            if (wrong is not null)
                return null;
            i += hasValue ? 1 : 0;
        }

        wrong = options switch
        {
            { From.Length: 0 } => $"--from is missing: {string.Join(", ", Readers.Keys)}.",
            { File.Length: 0 } => "The file to read is missing.",
            _ => null,
        };
        return wrong is null ? options : null;
    }

    private ImportOptions With(string name, string value, ref string? wrong)
    {
        switch (name)
        {
            case "--from" or "--resource" or "--scopes" or "--default-scopes" or "--secrets-file" or "--signing-alg" when IsGiven(name):
                wrong = $"{name} may be given once.";
                return this;
            case "--from" when Readers.ContainsKey(value): return this with { From = value };
            case "FILE" when File.Length == 0: return this with { File = value };
            case "--apply": return this with { Apply = true };
            case "--resource": return this with { Resource = value };
            case "--scopes" when Words(value) is { Length: > 0 } scopes: return this with { Scopes = scopes };
            case "--default-scopes" when value is "all" or "none": return this with { AllAreDefaults = value == "all" };
            case "--map" when MapOf(value) is { } pair: return this with { Resources = With(Resources, pair) };
            case "--rename" when Pair(value) is { } pair: return this with { Ids = With(Ids, pair) };
            case "--new-secrets": return this with { NewSecrets = true };
            case "--new-secret-for": return this with { NewSecretFor = [.. NewSecretFor, value] };
            case "--skip": return this with { Skipped = [.. Skipped, value] };
            case "--no-claims-for": return this with { NoClaimsFor = [.. NoClaimsFor, value] };
            case "--secrets-file": return this with { SecretsFile = value };
            case "--signing-alg": return this with { SigningAlgorithm = value };
            case "--no-claims": return this with { WithClaims = false };
            case "--cores" when Number(value) is >= 1 and var cores && cores <= Environment.ProcessorCount:
                return this with { Cores = cores };
            case "--from" or "--scopes" or "--default-scopes" or "--map" or "--rename" or "--cores":
                wrong = $"The value of {name} is not one that it takes.";
                return this;
            default:
                wrong = name == "FILE" ? "There is more than one file." : $"There is no option {name}.";
                return this;
        }
    }

    private bool IsGiven(string name) => name switch
    {
        "--from" => From.Length > 0,
        "--resource" => Resource is not null,
        "--scopes" => Scopes.Count > 0,
        "--default-scopes" => AllAreDefaults is not null,
        "--secrets-file" => SecretsFile is not null,
        "--signing-alg" => SigningAlgorithm is not null,
        _ => false,
    };

    private static string[] Words(string text) => text.Split(' ', StringSplitOptions.RemoveEmptyEntries);

    private static int Number(string text) =>
        int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var number) ? number : 0;

    // OLD=NEW. An id may have an equals sign in it; the last one divides.
    private static (string Old, string New)? Pair(string text) =>
        text.LastIndexOf('=') is > 0 and var at && at < text.Length - 1 ? (text[..at], text[(at + 1)..]) : null;

    // NAME=API, each of which may have an equals sign in it: the first one that a resource follows divides.
    private static (string Old, string New)? MapOf(string text)
    {
        for (var at = text.IndexOf('='); at > 0; at = text.IndexOf('=', at + 1))
        {
            if (ResourceIndicator.IsUriOrName(text[(at + 1)..]))
                return (text[..at], text[(at + 1)..]);
        }

        return null;
    }

    private static Dictionary<string, string> With(IReadOnlyDictionary<string, string> map, (string Old, string New) pair) =>
        new(map, StringComparer.Ordinal) { [pair.Old] = pair.New };
}
