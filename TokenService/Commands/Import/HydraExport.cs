using System.Globalization;
using System.Text.RegularExpressions;
using TokenService.Authentication;

namespace TokenService.Commands;

/// <summary>
/// The clients of Ory Hydra: the answer of <c>GET /admin/clients</c>, or of <c>hydra list oauth2-clients --format
/// json</c>, or several of these joined in one array.
/// </summary>
internal static partial class HydraExport
{
    public static ClientExport Read(string path)
    {
        using var json = ExportFile.ReadJson(path);
        var root = new ExportNode("", json.RootElement);
        var items = (root.IsArray ? root : root["items"] ?? throw root.Not("an array of clients, nor an object with \"items\"")).Items;
        ExportFile.CheckCount(path, items.Count);

        var (clients, leftOut) = (new List<ImportedClient>(), new List<LeftOutClient>());
        foreach (var item in items)
        {
            var id = item.Any("client_id", "id")?.Text ?? throw item.Not("an object with a client_id");
            var method = item["token_endpoint_auth_method"]?.Text ?? ClientCredentials.Basic.Name;
            var grantTypes = item["grant_types"]?.Texts ?? [];
            if (!grantTypes.Contains("client_credentials"))
                leftOut.Add(new(item.Place, id, "it does not use the client credentials grant"));
            else if (method == "none")
                leftOut.Add(new(item.Place, id, "it is a public client, without credentials"));
            else
                clients.Add(ToClient(item, id, method, grantTypes));
        }

        return new ClientExport(clients, leftOut, new Dictionary<string, string>(),
        [
            "Hydra grants no scope that a request does not name. A request that names none is refused here, unless you pass "
            + "--default-scopes all.",
        ]);
    }

    private static ImportedClient ToClient(ExportNode item, string id, string method, IReadOnlyList<string> grantTypes)
    {
        var warnings = new List<string>();
        if (grantTypes.Any(type => type != "client_credentials"))
            warnings.Add("it uses other grants too, which do not come along");
        var scopes = (item["scope"]?.Text ?? "").Split(' ', StringSplitOptions.RemoveEmptyEntries).Distinct().ToList();
        if (scopes.Any(scope => scope.Contains('*', StringComparison.Ordinal)))
            warnings.Add("a scope has a wildcard, which here is a character like any other");
        var audiences = item["audience"]?.Texts ?? [];
        var lifetime = Seconds(item["client_credentials_grant_access_token_lifespan"], warnings);
        var (secret, why) = Secret(item["client_secret"]?.Text ?? "");
        return new ImportedClient
        {
            Place = item.Place,
            Id = id,
            Name = item["client_name"]?.Text,
            Secret = secret,
            WhyNewSecret = why,
            Methods = method is ClientCredentials.Basic.Name or ClientCredentials.Post.Name
                ? [method]
                : [ClientCredentials.Basic.Name, ClientCredentials.Post.Name],
            TokenLifetimeSeconds = lifetime,
            Grants =
            [
                .. audiences.Count == 0
                    ? scopes.Select(scope => new ImportedGrant(null, scope, IsDefault: false))
                    : audiences.SelectMany(audience => Grants(audience, scopes)),
            ],
            Warnings = warnings,
            Obstacle = method is "client_secret_basic" or "client_secret_post" ? null : $"it authenticates by {method}",
            NewSecretHelps = true,
        };
    }

    private static IEnumerable<ImportedGrant> Grants(string audience, List<string> scopes) => scopes.Count == 0
        ? [new ImportedGrant(audience, null, IsDefault: false)]
        : scopes.Select(scope => new ImportedGrant(audience, scope, IsDefault: false));

    // The API never returns a secret, and the database has digests.
    private static (string? Secret, string? Why) Secret(string text) => text switch
    {
        "" => (null, "the file has none: Hydra keeps only digests"),
        _ when Digest().IsMatch(text) => (null, "the file has only a digest of it"),
        _ => (text, null),
    };

    private static int? Seconds(ExportNode? lifespan, List<string> warnings)
    {
        if (lifespan?.Text is not { Length: > 0 } text)
            return null;
        // As Go writes a duration.
        if (Duration().Match(text) is { Success: true } match)
        {
            return ImportedLifetime.Nearest(
                Number(match, "h") * 3600 + Number(match, "m") * 60 + Number(match, "s"), warnings);
        }

        warnings.Add("its lifetime of access tokens is no duration, so the server's default applies");
        return null;
    }

    private static double Number(Match match, string unit) =>
        match.Groups[unit] is { Success: true } group ? double.Parse(group.ValueSpan, CultureInfo.InvariantCulture) : 0;

    [GeneratedRegex(@"\A(?:(?<h>[0-9]{1,6})h)?(?:(?<m>[0-9]{1,8})m)?(?:(?<s>[0-9]{1,9})(?:\.0+)?s)?\z")]
    private static partial Regex Duration();

    // bcrypt, PBKDF2 and Argon2, as crypt and PHC strings have them.
    [GeneratedRegex(@"\A\$(?:2[abxy]?|pbkdf2[a-z0-9-]*|argon2(?:id|i|d)|scrypt|5|6)\$")]
    private static partial Regex Digest();
}
