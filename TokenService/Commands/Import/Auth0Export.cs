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

        var grants = (root.Any("clientGrants", "client_grants")?.Items ?? []).ToLookup(
            grant => grant["client_id"]?.Text ?? throw grant.Not("an object with a client_id"), StringComparer.Ordinal);
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
                clients.Add(ToClient(item, id, name, grantTypes, grants[id].Concat(name is null || name == id ? [] : grants[name])));
        }

        return new ClientExport(clients, leftOut, SigningAlgorithms(root), []);
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
            Grants = [.. grants.SelectMany(Grants)],
            Warnings = warnings,
            Obstacle = provesOtherwise ? "it authenticates by private_key_jwt or mutual TLS" : null,
            NewSecretHelps = true,
        };
    }

    // Auth0 issues all granted scopes to a request that names none.
    private static IEnumerable<ImportedGrant> Grants(ExportNode grant)
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
