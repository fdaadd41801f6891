using System.Globalization;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using TokenService.Configuration;

namespace TokenService.Commands;

/// <summary>
/// A realm of Keycloak: the file that <c>kc.sh export --dir … --users realm_file</c> writes, or the array of clients that
/// <c>kcadm.sh get clients</c> prints. The first has the roles of service accounts and the client scopes too.
/// </summary>
internal sealed partial class KeycloakExport
{
    private const string OpenIdConnect = "openid-connect";

    // Keycloak makes these in each realm.
    private static readonly HashSet<string> OwnClients =
    [
        "account", "account-console", "admin-cli", "broker", "realm-management", "security-admin-console",
    ];

    // Scopes that Keycloak makes in each realm. They are about people, or only choose what a token contains.
    private static readonly HashSet<string> OwnScopes =
    [
        "acr", "address", "basic", "email", "microprofile-jwt", "offline_access", "organization", "phone", "profile",
        "role_list", "roles", "saml_organization", "service_account", "web-origins", "openid",
    ];

    private static readonly HashSet<string> OwnRoles = ["offline_access", "uma_authorization"];

    private readonly string realm;
    private readonly Dictionary<string, Scope> scopes;
    private readonly Dictionary<string, ExportNode> serviceAccounts;
    private readonly ScopeMappings realmScopeMappings;
    private readonly Dictionary<string, ScopeMappings> clientScopeMappings;

    private KeycloakExport(ExportNode root)
    {
        var (isRealm, users) = (root.IsObject, root.IsObject ? root["users"]?.Items ?? [] : []);
        realm = isRealm ? root["realm"]?.Text ?? "" : "";
        scopes = ByName(
            isRealm ? root["clientScopes"]?.Items ?? [] : [],
            node => node["name"]?.Text ?? throw node.Not("a client scope with a name"), Scope.Read);
        serviceAccounts = ByName(
            users.Where(user => user["serviceAccountClientId"] is not null),
            user => user["serviceAccountClientId"]!.Value.Text, user => user);
        realmScopeMappings = new ScopeMappings(isRealm ? root["scopeMappings"] : null);
        clientScopeMappings = (isRealm ? root["clientScopeMappings"]?.Members ?? [] : [])
            .ToDictionary(of => of.Name, of => new ScopeMappings(of.Node), StringComparer.Ordinal);
    }

    // A name that occurs twice is refused, since either could be meant.
    private static Dictionary<string, T> ByName<T>(IEnumerable<ExportNode> nodes, Func<ExportNode, string> nameOf, Func<ExportNode, T> read)
    {
        var found = new Dictionary<string, T>(StringComparer.Ordinal);
        foreach (var node in nodes)
        {
            if (!found.TryAdd(nameOf(node), read(node)))
                throw node.Not("the only one of its name");
        }

        return found;
    }

    public static ClientExport Read(string path)
    {
        using var json = ExportFile.ReadJson(path);
        var root = new ExportNode("", json.RootElement);
        // An export of all realms is an array of realms.
        if (root.IsArray && root.Items is [{ IsObject: true } first, ..] items && first["realm"] is not null)
        {
            root = items.Count == 1
                ? first
                : throw new OperatorException(
                    $"{path} has {items.Count} realms. Export one: kc.sh export --dir DIR --realm NAME --users realm_file");
        }

        var clients = root.IsArray ? root.Items : (root["clients"] ?? throw root.Not("a realm with \"clients\"")).Items;
        ExportFile.CheckCount(path, clients.Count);
        return new KeycloakExport(root).Read(clients, root);
    }

    private ClientExport Read(IReadOnlyList<ExportNode> items, ExportNode root)
    {
        var (clients, leftOut, own) = (new List<ImportedClient>(), new List<LeftOutClient>(), 0);
        foreach (var item in items)
        {
            var id = item["clientId"]?.Text ?? throw item.Not("an object with a clientId");
            if (OwnClients.Contains(id) || id == $"{realm}-realm")
            {
                own++;
                continue;
            }

            if (WhyLeftOut(item) is { } why)
                leftOut.Add(new(item.Place, id, why));
            else
                clients.Add(ToClient(item, id));
        }

        return new ClientExport(clients, leftOut, new Dictionary<string, string>(), [.. Notes(root, own)]);
    }

    private static IEnumerable<string> Notes(ExportNode root, int own)
    {
        if (own > 0)
            yield return $"{own} clients that Keycloak makes in each realm, such as account, are ignored.";
        if (root.IsArray)
            yield return "The file has clients only: it lacks client scopes and the roles of service accounts, which a realm export has.";
        else if (root["users"] is null)
            yield return "The file has no users: it lacks the roles of service accounts, which kc.sh export with --users realm_file adds.";
        if (root.IsObject && root["defaultSignatureAlgorithm"]?.Text is { } algorithm && algorithm != "ES256")
        {
            yield return $"The realm signs with {algorithm}, and this server with ES256 unless an API is made with another algorithm. "
                + "If APIs verify nothing else, pass --signing-alg RS256.";
        }
    }

    private static string? WhyLeftOut(ExportNode item)
    {
        if ((item["protocol"]?.Text ?? OpenIdConnect) != OpenIdConnect)
            return "it does not speak OpenID Connect";
        if (item["bearerOnly"]?.Flag is true)
            return "it is an API, which needs no client to verify tokens";
        if (item["publicClient"]?.Flag is true)
            return "it is a public client, without credentials";
        return item["serviceAccountsEnabled"]?.Flag is true ? null : "it does not use the client credentials grant (no service account)";
    }

    private ImportedClient ToClient(ExportNode item, string id)
    {
        var warnings = new List<string>();
        if (item["standardFlowEnabled"]?.Flag is true || item["implicitFlowEnabled"]?.Flag is true
            || item["directAccessGrantsEnabled"]?.Flag is true)
            warnings.Add("it uses other grants too, which do not come along");
        var method = item["clientAuthenticatorType"]?.Text ?? "client-secret";
        if (method == "client-secret-jwt")
            warnings.Add("it signs assertions with its secret; here it must send the secret itself");

        var (secret, why) = HasExpiredSecret(item) ? (null, "it has expired") : Secret(item["secret"]?.Text ?? "");
        ExportNode? account = serviceAccounts.TryGetValue(id, out var user) ? user : null;
        var held = new Held(item, account, this);
        return new ImportedClient
        {
            Place = item.Place,
            Id = id,
            Name = item["name"]?.Text,
            // Keycloak refuses a client whose service account is disabled.
            IsEnabled = (item["enabled"]?.Flag ?? true) && (account?["enabled"]?.Flag ?? true),
            Secret = secret,
            WhyNewSecret = why,
            TokenLifetimeSeconds = Lifetime(item["attributes"], warnings),
            Grants = held.Grants,
            Claims = Claims(held, warnings),
            Warnings = warnings,
            Obstacle = method is "client-secret" or "client-secret-jwt" ? null : $"it authenticates by {NameOf(method)}",
            NewSecretHelps = true,
        };
    }

    private static string NameOf(string authenticator) => authenticator switch
    {
        "client-jwt" => "private_key_jwt",
        "client-x509" => "mutual TLS (client-x509)",
        _ => "a method that this server does not have",
    };

    private static (string? Secret, string? Why) Secret(string text) => text switch
    {
        "" => (null, "the file has none"),
        _ when text.All(character => character == '*') => (null, "a partial export masks it"),
        _ when text.StartsWith("${vault.", StringComparison.Ordinal) => (null, "it is in Keycloak's vault"),
        _ => (text, null),
    };

    // Seconds since 1970; 0: never.
    private static bool HasExpiredSecret(ExportNode item) =>
        item["attributes"]?["client.secret.expiration.time"]?.Text is { } text
        && long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var seconds)
        && seconds > 0
        && seconds <= TimeProvider.System.GetUtcNow().ToUnixTimeSeconds();

    private static int? Lifetime(ExportNode? attributes, List<string> warnings)
    {
        if (attributes?["access.token.lifespan"]?.Text is not { Length: > 0 } text)
            return null;
        if (int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var seconds))
            return ImportedLifetime.Nearest(seconds, warnings);
        warnings.Add("its lifetime of access tokens is no number of seconds, so the server's default applies");
        return null;
    }

    private static string Claims(Held held, List<string> warnings)
    {
        var claims = new JsonObject();
        foreach (var mapper in held.Mappers.Where(mapper => mapper.IsHardCodedClaim))
        {
            if (!mapper.TryAddTo(claims))
                warnings.Add($"the hard-coded claim of its mapper \"{mapper.Name}\" does not come along");
        }

        foreach (var name in held.Mappers.Where(mapper => mapper.IsLost).Select(mapper => mapper.Name).Distinct())
            warnings.Add($"its mapper \"{name}\" does not come along");
        if (held.RealmRoles.Count > 0)
            claims["realm_access"] = new JsonObject { ["roles"] = Array(held.RealmRoles) };
        if (held.ClientRoles.Count > 0)
        {
            claims["resource_access"] = new JsonObject(held.ClientRoles.Select(of =>
                KeyValuePair.Create<string, JsonNode?>(of.Key, new JsonObject { ["roles"] = Array(of.Value) })));
        }

        return claims.ToJsonString();
    }

    private static JsonArray Array(IEnumerable<string> texts) => [.. texts.Select(text => (JsonNode?)text)];

    /// <summary>Everything that one client holds by its scopes, its mappers and the roles of its service account.</summary>
    private sealed class Held(ExportNode client, ExportNode? account, KeycloakExport export)
    {
        private readonly List<(Scope Scope, bool IsDefault)> scopes =
        [
            .. export.ScopesOf(client["defaultClientScopes"]).Select(scope => (scope, true)),
            .. export.ScopesOf(client["optionalClientScopes"]).Select(scope => (scope, false)),
        ];

        /// <summary>The mappers that are at work in each of its tokens.</summary>
        public IReadOnlyList<Mapper> Mappers => field ??=
        [
            .. Mapper.ReadAll(client["protocolMappers"]), .. scopes.Where(held => held.IsDefault).SelectMany(held => held.Scope.Mappers),
        ];

        public IReadOnlyList<string> RealmRoles => field ??=
        [
            .. (account?["realmRoles"]?.Texts ?? []).Where(role =>
                !OwnRoles.Contains(role) && !role.StartsWith("default-roles-", StringComparison.Ordinal)
                && IsInTokens(export.realmScopeMappings, role)),
        ];

        /// <summary>The roles of other clients, which are APIs.</summary>
        public SortedDictionary<string, IReadOnlyList<string>> ClientRoles => field ??= new(
            (account?["clientRoles"]?.Members ?? [])
                .Where(of => !OwnClients.Contains(of.Name))
                .Select(of => (of.Name, Roles: (IReadOnlyList<string>)
                    [.. of.Node.Texts.Where(role => IsInTokens(export.clientScopeMappings.GetValueOrDefault(of.Name), role))]))
                .Where(of => of.Roles.Count > 0)
                .ToDictionary(of => of.Name, of => of.Roles),
            StringComparer.Ordinal);

        // Without full scope, tokens have only the roles that the client or one of its client scopes is mapped to.
        private bool IsInTokens(ScopeMappings? mappings, string role) =>
            client["fullScopeAllowed"]?.Flag is not false
            || mappings?.OfClients[client["clientId"]!.Value.Text].Contains(role) is true
            || scopes.Exists(held => mappings?.OfScopes[held.Scope.Name].Contains(role) is true);

        public IReadOnlyList<ImportedGrant> Grants => field ??= ReadGrants();

        private List<ImportedGrant> ReadGrants()
        {
            var own = Mappers.Select(mapper => mapper.Audience).OfType<string>().Distinct().ToList();
            var all = own.Union(ClientRoles.Keys).ToList();
            // Keycloak's scopes belong to no API. A scope belongs to the audience that its own mapper adds, or else to the
            // one audience that the client has.
            var only = all.Count == 1 ? all[0] : own.Count == 1 ? own[0] : null;
            var grants = new List<ImportedGrant>();
            foreach (var (scope, isDefault) in scopes.Where(held => held.Scope.IsShown && !OwnScopes.Contains(held.Scope.Name)))
            {
                var audiences = scope.Mappers.Select(mapper => mapper.Audience).OfType<string>().Distinct().ToList();
                grants.AddRange(audiences.Count == 0
                    ? [new ImportedGrant(only, scope.Name, isDefault)]
                    : audiences.Select(audience => new ImportedGrant(audience, scope.Name, isDefault)));
            }

            foreach (var (api, roles) in ClientRoles)
                grants.AddRange(roles.Select(role => new ImportedGrant(api, role, IsDefault: true)));
            foreach (var audience in all.Where(audience => grants.All(grant => grant.Resource != audience)).ToList())
                grants.Add(new ImportedGrant(audience, null, IsDefault: true));
            return [.. grants.DistinctBy(grant => (grant.Resource, grant.Scope))];
        }
    }

    private IEnumerable<Scope> ScopesOf(ExportNode? names) =>
        (names?.Texts ?? []).Select(name => scopes.GetValueOrDefault(name) ?? new Scope(name, IsShown: true, []));

    /// <summary>The roles that clients and client scopes let into tokens.</summary>
    private sealed class ScopeMappings(ExportNode? nodes)
    {
        public ILookup<string, string> OfClients { get; } = Read(nodes, "client");

        public ILookup<string, string> OfScopes { get; } = Read(nodes, "clientScope");

        private static ILookup<string, string> Read(ExportNode? nodes, string kind) => (nodes?.Items ?? [])
            .Where(node => node[kind] is not null)
            .SelectMany(node => (node["roles"]?.Texts ?? []).Select(role => (Name: node[kind]!.Value.Text, role)))
            .ToLookup(each => each.Name, each => each.role, StringComparer.Ordinal);
    }

    /// <param name="Name">Its name.</param>
    /// <param name="IsShown">True when the scope claim of tokens has it.</param>
    /// <param name="Mappers">Its mappers, which add to tokens.</param>
    private sealed record Scope(string Name, bool IsShown, IReadOnlyList<Mapper> Mappers)
    {
        public static Scope Read(ExportNode node)
        {
            var name = node["name"]!.Value.Text;
            return new(
                name,
                node["attributes"]?["include.in.token.scope"]?.Flag ?? true,
                // The mappers of Keycloak's own scopes are about people.
                OwnScopes.Contains(name) ? [] : Mapper.ReadAll(node["protocolMappers"]));
        }
    }

    /// <summary>A protocol mapper, which adds something to tokens.</summary>
    private sealed record Mapper(string Name, string Type, ExportNode? Config)
    {
        // A name of a claim has at most so many parts, since claims are at most 16 levels deep.
        private const int MaxParts = 8;

        public bool IsHardCodedClaim => Type == "oidc-hardcoded-claim-mapper" && IsInAccessToken;

        /// <summary>
        /// True for a mapper that this server has nothing like. What a mapper of users or sessions adds is about people.
        /// </summary>
        public bool IsLost =>
            Type is "oidc-hardcoded-role-mapper" or "oidc-script-based-protocol-mapper" or "oidc-sha256-pairwise-sub-mapper"
            || Type.StartsWith("script-", StringComparison.Ordinal);

        /// <summary>The audience that it adds; null: none.</summary>
        public string? Audience => Type == "oidc-audience-mapper" && IsInAccessToken
            ? NotEmpty("included.client.audience") ?? NotEmpty("included.custom.audience")
            : null;

        private bool IsInAccessToken => Config?["access.token.claim"]?.Flag is true;

        public static IReadOnlyList<Mapper> ReadAll(ExportNode? nodes) =>
        [
            .. (nodes?.Items ?? []).Select(node =>
                new Mapper(node["name"]?.Text ?? "", node["protocolMapper"]?.Text ?? "", node["config"])),
        ];

        /// <summary>Adds the hard-coded claim. False: it has no name, or a value that is not of its type.</summary>
        public bool TryAddTo(JsonObject claims)
        {
            var path = Dot().Split(NotEmpty("claim.name") ?? "")
                .Select(part => part.Replace(@"\.", ".", StringComparison.Ordinal)).ToList();
            var (type, text) = (NotEmpty("jsonType.label") ?? "String", NotEmpty("claim.value") ?? "");
            if (path.Contains("") || path.Count > MaxParts || !TryRead(type, text, out var value))
                return false;
            foreach (var name in path.SkipLast(1))
            {
                if (claims[name] is not JsonObject inner)
                    claims[name] = inner = [];
                claims = inner;
            }

            claims[path[^1]] = value;
            return true;
        }

        private static bool TryRead(string type, string text, out JsonNode? value)
        {
            value = null;
            if (type == "String")
            {
                value = text;
                return true;
            }

            try
            {
                value = JsonNode.Parse(text, documentOptions: new() { AllowDuplicateProperties = false });
                return type == "JSON" || value is JsonValue;
            }
            catch (System.Text.Json.JsonException)
            {
                return false;
            }
        }

        private string? NotEmpty(string name) => Config?[name]?.Text is { Length: > 0 } text ? text : null;
    }

    // A dot with a backslash before it is part of a name.
    [GeneratedRegex(@"(?<!\\)\.")]
    private static partial Regex Dot();
}
