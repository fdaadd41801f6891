using System.Globalization;
using System.Text.Json;
using TokenService.Configuration;

namespace TokenService.Commands;

/// <summary>
/// Clients as rows of a CSV file, whose first row names the columns. Only <c>client_id</c> is required. A client with
/// scopes of several APIs has a row for each API; the rows after its first have only <c>client_id</c>, <c>resource</c>,
/// <c>scopes</c> and <c>default_scopes</c>.
/// </summary>
internal static class CsvExport
{
    private static readonly string[] Columns =
    [
        "client_id", "name", "secret", "resource", "scopes", "default_scopes", "methods", "enabled", "token_lifetime", "extra_claims",
    ];

    private const int MaxGrants = 1000;

    private static readonly string[] ColumnsOfGrants = ["client_id", "resource", "scopes", "default_scopes"];

    public static ClientExport Read(string path)
    {
        var rows = Csv.Read(ExportFile.ReadText(path)).ToList();
        var header = rows.FirstOrDefault()?.Fields.Select(name => name.Trim()).ToList() ?? [];
        CheckHeader(path, header);
        ExportFile.CheckCount(path, rows.Count - 1);

        var clients = new Dictionary<string, ImportedClient>(StringComparer.Ordinal);
        var grants = new Dictionary<string, List<ImportedGrant>>(StringComparer.Ordinal);
        foreach (var row in rows.Skip(1))
        {
            if (row.Fields.Count != header.Count)
                throw Refused(row, $"has {row.Fields.Count} fields, and the first row has {header.Count}");
            var fields = header.Zip(row.Fields).ToDictionary(field => field.First, field => field.Second, StringComparer.Ordinal);
            var id = fields["client_id"];
            if (!clients.TryGetValue(id, out var first))
                clients.Add(id, ToClient(row, fields, grants[id] = []));
            else if (fields.Any(field => field.Value.Length > 0 && !ColumnsOfGrants.Contains(field.Key)))
                throw Refused(row, $"is another row of the client in {first.Place}, and may have only "
                    + $"{string.Join(", ", ColumnsOfGrants)}");
            grants[id].AddRange(Grants(row, fields));
            if (grants[id].Count > MaxGrants)
                throw Refused(row, $"is one too many: a client has at most {MaxGrants} scopes");
        }

        return new ClientExport([.. clients.Values], [], new Dictionary<string, string>(), []);
    }

    private static void CheckHeader(string path, List<string> header)
    {
        if (!header.Contains("client_id"))
            throw new OperatorException($"The first row of {path} does not name a column client_id. The columns are: "
                + $"{string.Join(", ", Columns)}.");
        // The name is not repeated: in a file without header it may be a secret.
        if (header.FindIndex(name => !Columns.Contains(name)) is >= 0 and var unknown)
            throw new OperatorException($"Column {unknown + 1} of {path} has an unknown name. The columns are: "
                + $"{string.Join(", ", Columns)}.");
        if (header.Distinct().Count() != header.Count)
            throw new OperatorException($"The first row of {path} names a column twice.");
    }

    private static ImportedClient ToClient(CsvRow row, Dictionary<string, string> fields, IReadOnlyList<ImportedGrant> grants)
    {
        var secret = fields.GetValueOrDefault("secret", "");
        var client = new ImportedClient
        {
            Place = $"line {row.Line}",
            Id = fields["client_id"],
            Name = fields.GetValueOrDefault("name"),
            Secret = secret.Length == 0 ? null : secret,
            WhyNewSecret = secret.Length == 0 ? "the file has none" : null,
            IsEnabled = Enabled(row, fields.GetValueOrDefault("enabled", "")),
            TokenLifetimeSeconds = Lifetime(row, fields.GetValueOrDefault("token_lifetime", "")),
            Claims = Claims(row, fields.GetValueOrDefault("extra_claims", "")),
            Grants = grants,
        };
        var methods = Words(fields.GetValueOrDefault("methods", ""));
        return methods.Length == 0 ? client : client with { Methods = methods };
    }

    private static IReadOnlyList<ImportedGrant> Grants(CsvRow row, Dictionary<string, string> fields)
    {
        var resource = fields.GetValueOrDefault("resource", "") is { Length: > 0 } named ? named : null;
        var scopes = Words(fields.GetValueOrDefault("scopes", ""));
        var defaults = Words(fields.GetValueOrDefault("default_scopes", ""));
        if (defaults.Except(scopes).Any())
            throw Refused(row, "has a default scope that is not among its scopes");
        if (scopes.Length == 0 && resource is not null)
            return [new ImportedGrant(resource, null, IsDefault: false)];
        return [.. scopes.Distinct().Select(scope => new ImportedGrant(resource, scope, defaults.Contains(scope)))];
    }

    private static bool Enabled(CsvRow row, string text) => text.ToLowerInvariant() switch
    {
        "" or "true" or "t" or "yes" or "on" or "1" => true,
        "false" or "f" or "no" or "off" or "0" => false,
        _ => throw Refused(row, "has an \"enabled\" that is neither true nor false"),
    };

    private static int? Lifetime(CsvRow row, string text) =>
        text.Length == 0 ? null
        : int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var seconds) ? seconds
        : throw Refused(row, "has a token_lifetime that is not a number of seconds");

    private static string Claims(CsvRow row, string text)
    {
        if (text.Length == 0)
            return "{}";
        try
        {
            using var json = JsonDocument.Parse(text);
            return json.RootElement.ValueKind == JsonValueKind.Object ? text : throw Refused(row, "has extra_claims that are not a "
                + "JSON object");
        }
        catch (JsonException)
        {
            throw Refused(row, "has extra_claims that are not JSON");
        }
    }

    private static string[] Words(string text) => text.Split(' ', StringSplitOptions.RemoveEmptyEntries);

    private static OperatorException Refused(CsvRow row, string what) => new($"Line {row.Line} of the file {what}.");
}
