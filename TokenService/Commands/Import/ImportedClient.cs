using TokenService.Authentication;

namespace TokenService.Commands;

/// <summary>A scope that a client held at the other server.</summary>
/// <param name="Resource">The API that the scope belongs to; null: the export does not say.</param>
/// <param name="Scope">Its name; null: the client may use the API, but the export has no scope for it.</param>
/// <param name="IsDefault">True when a request that names no scope got it there.</param>
internal sealed record ImportedGrant(string? Resource, string? Scope, bool IsDefault);

/// <summary>A client of an export, as this server would have it.</summary>
internal sealed record ImportedClient
{
    /// <summary>Its place in the file, such as <c>clients[3]</c> or <c>line 7</c>.</summary>
    public required string Place { get; init; }

    public required string Id { get; init; }

    /// <summary>The name that people know; null: the export has no name.</summary>
    public required string? Name { get; init; }

    public bool IsEnabled { get; init; } = true;

    /// <summary>Its secret at the other server; null: the export has none.</summary>
    public string? Secret { get; init; }

    /// <summary>Why the export has no secret; null: it has one.</summary>
    public string? WhyNewSecret { get; init; }

    public IReadOnlyList<ImportedGrant> Grants { get; init; } = [];

    /// <summary>By default both methods, which most servers accept from any client with a secret.</summary>
    public IReadOnlyList<string> Methods { get; init; } = [ClientCredentials.Basic.Name, ClientCredentials.Post.Name];

    /// <summary>Null: the server's default.</summary>
    public int? TokenLifetimeSeconds { get; init; }

    /// <summary>Extra claims, as a JSON object.</summary>
    public string Claims { get; init; } = "{}";

    /// <summary>Properties that do not come along, and things that somebody has to change.</summary>
    public IReadOnlyList<string> Warnings { get; init; } = [];

    /// <summary>Why it cannot be brought; null: it can, as far as the file shows.</summary>
    public string? Obstacle { get; init; }

    /// <summary>
    /// True when the obstacle is that the client proves itself in another way than by a secret, so that a new secret
    /// removes it.
    /// </summary>
    public bool NewSecretHelps { get; init; }

    public override string ToString() => Id; // a record's own ToString would print the secret
}

/// <summary>The lifetime of access tokens, as <c>is_token_lifetime</c> has it.</summary>
internal static class ImportedLifetime
{
    private const int Min = 60;
    private const int Max = 86400;

    /// <summary>The nearest lifetime that a client may have here.</summary>
    /// <param name="seconds">Its lifetime at the other server.</param>
    /// <param name="warnings">Get one when it is another.</param>
    public static int Nearest(double seconds, List<string> warnings)
    {
        var nearest = (int)Math.Clamp(seconds, Min, Max);
        if (nearest != seconds)
            warnings.Add($"its access tokens lived {seconds} s there, and will live {nearest} s: 1 minute to 1 day is possible");
        return nearest;
    }
}

/// <summary>A client of an export that does not use the client credentials grant, or has no credentials.</summary>
internal sealed record LeftOutClient(string Place, string Id, string Why);

/// <summary>The contents of an export.</summary>
/// <param name="Clients">The clients that use the client credentials grant.</param>
/// <param name="LeftOut">The others.</param>
/// <param name="SigningAlgorithms">The algorithm that the export names for some APIs.</param>
/// <param name="Notes">Remarks on the whole export.</param>
internal sealed record ClientExport(
    IReadOnlyList<ImportedClient> Clients,
    IReadOnlyList<LeftOutClient> LeftOut,
    IReadOnlyDictionary<string, string> SigningAlgorithms,
    IReadOnlyList<string> Notes);
