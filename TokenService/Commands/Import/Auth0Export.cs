namespace TokenService.Commands;

/// <summary>
/// An Auth0 tenant in one JSON object: <c>clients</c>, <c>clientGrants</c> and <c>resourceServers</c>, each an array as
/// the Management API answers it. These are the names of the Deploy CLI; <c>client_grants</c> and
/// <c>resource_servers</c> mean the same.
/// </summary>
internal static class Auth0Export
{
    public static ClientExport Read(string path)
    {
        using var json = ExportFile.ReadJson(path);
        var root = new ExportNode("", json.RootElement);
        var items = (root["clients"] ?? throw root.Not("an object with \"clients\"")).Items;
        ExportFile.CheckCount(path, items.Count);

        var grants = Grants(root, items, out var notes);
        var (clients, leftOut) = (new List<ImportedClient>(), new List<LeftOutClient>());
        foreach (var item in items)
        {
            var name = item["name"]?.Text;
            if (item["global"]?.Flag is true)
                continue; // "All Applications", which stands for the tenant
            if (item["client_id"]?.Text is not { } id)
            {
                throw item.Not("an object with a client_id. Export with identifiers: AUTH0_EXPORT_IDENTIFIERS=true for the Deploy CLI, "
                    + "or the Management API");
            }

            var grantTypes = item["grant_types"]?.Texts ?? [];
            if (!(grantTypes.Contains("client_credentials") || (grantTypes.Count == 0 && item["app_type"]?.Text == "non_interactive")))
                leftOut.Add(new(item.Place, id, "it does not use the client credentials grant"));
            else if (item["token_endpoint_auth_method"]?.Text == "none")
                leftOut.Add(new(item.Place, id, "it is a public client, without credentials"));
            else
                clients.Add(ToClient(item, id, name, grantTypes, grants[id]));
        }

        return new ClientExport(clients, leftOut, SigningAlgorithms(root), notes);
    }

    // By client_id. The Deploy CLI may name the client of a grant by its name. Anybody who may rename a client could give it
    // the id or the name of another one, so a name counts only where it can mean one client.
    private static ILookup<string, ExportNode> Grants(ExportNode root, IReadOnlyList<ExportNode> clients, out List<string> notes)
    {
        var ids = clients.Select(client => client["client_id"]?.Text).OfType<string>().ToHashSet(StringComparer.Ordinal);
        var idsByName = clients.Where(client => client["name"] is not null && client["client_id"] is not null)
            .ToLookup(client => client["name"]!.Value.Text, client => client["client_id"]!.Value.Text, StringComparer.Ordinal);
        var (found, others, unclear) = (new List<(string Id, ExportNode Grant)>(), 0, new List<string>());
        foreach (var grant in root.Any("clientGrants", "client_grants")?.Items ?? [])
        {
            // Without a client it is for all third-party clients; with another subject it is for people.
            if (grant["client_id"]?.Text is not { } named || (grant["subject_type"]?.Text ?? "client") != "client")
                others++;
            else if (ids.Contains(named))
                found.Add((named, grant));
            else if (idsByName[named].ToList() is [var only])
                found.Add((only, grant));
            else
                unclear.Add(grant.Place);
        }

        notes = [];
        if (others > 0)
            notes.Add($"{others} client grants do not come along: they are for people, or for all third-party clients.");
        if (unclear.Count > 0)
            notes.Add($"{string.Join(", ", unclear.Take(10))}: the client of such a grant is not in the file, or several have its name.");
        return found.ToLookup(each => each.Id, each => each.Grant, StringComparer.Ordinal);
    }

    private static ImportedClient ToClient(
        ExportNode item, string id, string? name, IReadOnlyList<string> grantTypes, IEnumerable<ExportNode> grants)
    {
        var warnings = new List<string>();
        if (grantTypes.Any(type => type != "client_credentials"))
            warnings.Add("it uses other grants too, which do not come along");
        if (item["client_metadata"] is not null)
            warnings.Add("its client_metadata do not come along; what an Action put into tokens can be given as extra claims");
        var secret = item["client_secret"]?.Text is { Length: > 0 } text ? text : null;
        var provesOtherwise = item["client_authentication_methods"] is not null;
        return new ImportedClient
        {
            Place = item.Place,
            Id = id,
            Name = name,
            Secret = secret,
            WhyNewSecret = secret is null ? "the file has none: read clients with the scope read:client_keys" : null,
            Grants = [.. grants.SelectMany(Scopes)],
            Warnings = warnings,
            Obstacle = provesOtherwise ? "it authenticates by private_key_jwt or mutual TLS" : null,
            NewSecretHelps = true,
        };
    }

    // Auth0 issues all granted scopes to a request that names none.
    private static IEnumerable<ImportedGrant> Scopes(ExportNode grant)
    {
        var audience = grant["audience"]?.Text ?? throw grant.Not("an object with an audience");
        var scopes = (grant["scope"]?.Texts ?? []).Distinct().ToList();
        return scopes.Count == 0
            ? [new ImportedGrant(audience, null, IsDefault: true)]
            : scopes.Select(scope => new ImportedGrant(audience, scope, IsDefault: true));
    }

    // Auth0 has HS256 too, which signs with a shared secret and does not exist here.
    private static Dictionary<string, string> SigningAlgorithms(ExportNode root)
    {
        var algorithms = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var api in root.Any("resourceServers", "resource_servers")?.Items ?? [])
        {
            if (api["identifier"]?.Text is { } identifier && api["signing_alg"]?.Text is ("RS256" or "PS256") and var algorithm)
                algorithms[identifier] = algorithm;
        }

        return algorithms;
    }
}
