using System.Text;
using TokenService.Configuration;
using TokenService.Protocol;
using TokenService.Secrets;

namespace TokenService.Commands;

/// <summary>A scope that a client is to hold.</summary>
internal sealed record PlannedScope(string Resource, string Name, bool IsDefault);

/// <summary>A client as it would be made, or why it cannot be.</summary>
internal sealed record PlannedClient
{
    public required string Place { get; init; }

    public required string Id { get; init; }

    /// <summary>Its id at the other server, which options name.</summary>
    public required string IdInFile { get; init; }

    public required string Name { get; init; }

    public required bool IsEnabled { get; init; }

    /// <summary>The secret that it brings; null: it gets a new one.</summary>
    public required string? Secret { get; init; }

    /// <summary>Why it gets a new one; null: it brings its own.</summary>
    public required string? WhyNewSecret { get; init; }

    public required IReadOnlyList<PlannedScope> Scopes { get; init; }

    public required IReadOnlyList<string> Methods { get; init; }

    public required int? TokenLifetimeSeconds { get; init; }

    /// <summary>A JSON object.</summary>
    public required string Claims { get; init; }

    public required IReadOnlyList<string> Warnings { get; init; }

    /// <summary>Why it cannot be made; null: the file gives no reason. The database may give one.</summary>
    public required string? Obstacle { get; init; }

    public override string ToString() => Id; // a record's own ToString would print the secret
}

/// <summary>Decides what an export becomes here, from the file and the options alone.</summary>
internal sealed class ImportPlan(ImportOptions options)
{
    // As is_short_text has it.
    private const int MaxNameLength = 200;

    private readonly HashSet<string> ids = new(StringComparer.Ordinal);

    /// <summary>
    /// The clients in the order of the file. If several have one id, only the first can be made. A client with the id of
    /// an API cannot be made, and the API can.
    /// </summary>
    /// <exception cref="OperatorException">An option names a client or an API that the file does not have.</exception>
    public IReadOnlyList<PlannedClient> Plan(ClientExport export)
    {
        CheckNames(export);
        var clients = export.Clients.Where(client => !options.Skipped.Contains(client.Id)).Select(Plan).ToList();
        var apis = clients.Where(client => client.Obstacle is null)
            .SelectMany(client => client.Scopes).Select(scope => scope.Resource).ToHashSet(StringComparer.Ordinal);
        return [.. clients.Select(client => client.Obstacle is null && apis.Contains(client.Id)
            ? client with
            {
                Obstacle = $"its id is also the name of an API, for which tokens have it as aud. Give the client another id: --rename "
                    + $"{Shell.Quoted(client.Id)}=NEW, or the API: --map {Shell.Quoted(client.Id)}=https://…",
            }
            : client)];
    }

    // A name that was mistyped would change nothing, and the admin would believe that it did.
    private void CheckNames(ClientExport export)
    {
        var clients = export.Clients.Select(client => client.Id).Concat(export.LeftOut.Select(client => client.Id)).ToHashSet();
        var apis = export.Clients.SelectMany(client => client.Grants).Select(grant => grant.Resource).Append(options.Resource).ToHashSet();
        (string Option, IEnumerable<string> Names)[] named =
        [
            ("--rename", options.Ids.Keys), ("--new-secret-for", options.NewSecretFor), ("--skip", options.Skipped),
            ("--no-claims-for", options.NoClaimsFor),
        ];
        foreach (var (option, names) in named)
        {
            if (names.FirstOrDefault(name => !clients.Contains(name)) is { } unknown)
                throw new OperatorException($"{option} {Shell.Quoted(unknown)}: no client of the file has this id.");
        }

        if (options.Resources.Keys.FirstOrDefault(api => !apis.Contains(api)) is { } missing)
            throw new OperatorException($"--map {Shell.Quoted(missing)}: no client of the file uses an API of this name.");
    }

    private PlannedClient Plan(ImportedClient client)
    {
        var warnings = new List<string>(client.Warnings);
        var id = options.Ids.GetValueOrDefault(client.Id, client.Id);
        if (id != client.Id)
            warnings.Add($"its id was {client.Id}");
        var isNew = client.Secret is null || IsAskedForNewSecret(client);
        var scopes = Scopes(client, warnings, out var withoutApi);
        var name = (client.Name ?? "").Trim() is { Length: > 0 } named ? named : id;
        if (name.Length > MaxNameLength)
            warnings.Add($"its name is cut to {MaxNameLength} characters");
        if (!isNew)
            AddWarningsOfSecret(client.Secret!, warnings);
        if (scopes.Select(scope => scope.Resource).Distinct().ToList() is { Count: > 1 } several)
            warnings.Add($"it holds scopes of several APIs: its requests must name one, {string.Join(" or ", several.Select(Parameter))}");

        return new PlannedClient
        {
            Place = client.Place,
            Id = id,
            IdInFile = client.Id,
            Name = name.Length > MaxNameLength ? Cut(name) : name,
            IsEnabled = client.IsEnabled,
            Secret = isNew ? null : client.Secret,
            WhyNewSecret = !isNew ? null : client.Secret is null ? client.WhyNewSecret ?? "the file has none" : "as you asked",
            Scopes = scopes,
            Methods = client.Methods,
            TokenLifetimeSeconds = client.TokenLifetimeSeconds,
            Claims = options.WithClaims && !options.NoClaimsFor.Contains(client.Id) ? client.Claims : "{}",
            Warnings = warnings,
            Obstacle = Obstacle(client, id, isNew, scopes, withoutApi),
        };
    }

    private string? Obstacle(
        ImportedClient client, string id, bool isNew, List<PlannedScope> scopes, IReadOnlyList<string> withoutApi)
    {
        if (!ids.Add(id))
        {
            const string taken = "another client of the file has this id";
            return id == client.Id ? taken : $"{taken}; its own was {client.Id}";
        }

        if (client.Obstacle is { } obstacle && !(client.NewSecretHelps && IsAskedForNewSecret(client)))
        {
            return client.NewSecretHelps
                ? $"{obstacle}. To give it a secret instead: --new-secret-for {Shell.Quoted(client.Id)}"
                : obstacle;
        }

        if (!ClientId.IsWellFormed(id))
        {
            return "its id has more than 255 characters, or a character that no id may have here (space, quotation mark, "
                + $"`, \\, *, or not ASCII). Give it another one: --rename {Shell.Quoted(client.Id)}=NEW";
        }

        if (!isNew && Defect(client.Secret!) is { } defect)
            return $"{defect}. To give it a new one: --new-secret-for {Shell.Quoted(client.Id)}";
        if (withoutApi.Count > 0)
            return $"the export does not say to which API its scopes belong: {string.Join(' ', withoutApi)}. Say it: --resource API";
        if (scopes.Count == 0)
        {
            return client.Grants.Count > 0
                ? $"it has no scope at {client.Grants[0].Resource}, and would get no token. Give it one: --scopes 'NAME …'"
                : options.From == "csv" ? null : "it has no scope and no API, and would get no token. Give it both: --resource API "
                    + "--scopes 'NAME …'";
        }

        return null;
    }

    private List<PlannedScope> Scopes(ImportedClient client, List<string> warnings, out IReadOnlyList<string> withoutApi)
    {
        var scopes = new List<PlannedScope>();
        var (missing, withoutScope) = (new List<string>(), new List<string>());
        var grants = client.Grants.Count == 0 && options is { Resource: not null, Scopes.Count: > 0 }
            ? [new ImportedGrant(null, null, IsDefault: true)]
            : client.Grants;
        foreach (var grant in grants)
        {
            var named = grant.Resource ?? options.Resource;
            var resource = named is null ? null : options.Resources.GetValueOrDefault(named, named);
            if (resource is null)
                missing.Add(grant.Scope ?? "?");
            else if (grant.Scope is not null)
                scopes.Add(new(resource, grant.Scope, options.AllAreDefaults ?? grant.IsDefault));
            else if (options.Scopes.Count > 0)
                scopes.AddRange(options.Scopes.Select(scope => new PlannedScope(resource, scope, options.AllAreDefaults ?? true)));
            else if (grants.Count > 1)
                withoutScope.Add(resource);
        }

        foreach (var resource in withoutScope.Except(scopes.Select(scope => scope.Resource)))
            warnings.Add($"it has no scope at {resource}, and gets no token for it unless you give it one: --scopes 'NAME …'");

        withoutApi = missing;
        return [.. scopes.DistinctBy(scope => (scope.Resource, scope.Name)).OrderBy(scope => scope.Resource, StringComparer.Ordinal)];
    }

    // RFC 8707 §2: resource is an absolute URI; a plain name goes into audience.
    private static string Parameter(string api) => ResourceIndicator.IsAbsoluteUri(api) ? $"resource={api}" : $"audience={api}";

    private bool IsAskedForNewSecret(ImportedClient client) => options.NewSecrets || options.NewSecretFor.Contains(client.Id);

    private static void AddWarningsOfSecret(string secret, List<string> warnings)
    {
        if (LineBreak.Ends(secret))
            warnings.Add("its secret ends in a line break, which belongs to it");
        if (UnencodedBasic.EffectOn(secret) is { } effect)
            warnings.Add($"its secret has + or %. {effect}: let them use client_secret_post");
    }

    private static string? Defect(string secret) => Encoding.UTF8.GetByteCount(secret) > ClientSecret.MaxLength
        ? $"its secret has more than {ClientSecret.MaxLength} bytes"
        : SecretCommand.Defect(secret) is null ? null
        : GeneratedSecret.HasPrefix(secret) ? "its secret looks like one of TokenService, but is damaged"
        : "its secret has fewer than 16 characters, or is not valid text, and could be guessed";

    // A surrogate pair is not cut in two.
    private static string Cut(string name) =>
        name[..(char.IsHighSurrogate(name[MaxNameLength - 1]) ? MaxNameLength - 1 : MaxNameLength)];
}

/// <summary>Text for a command line that somebody may paste.</summary>
internal static class Shell
{
    public static string Quoted(string text) =>
        ClientId.IsSimple(text) ? text : $"'{text.Replace("'", @"'\''", StringComparison.Ordinal)}'";
}
