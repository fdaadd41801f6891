using System.Collections.Frozen;
using System.Text.Json;
using TokenService.Secrets;

namespace TokenService.Clients;

/// <summary>A machine that may ask for tokens in its own name, as the database had it when it was read.</summary>
internal sealed record Client
{
    /// <summary>The client_id.</summary>
    public required string Id { get; init; }

    /// <summary>False: to be refused like an unknown client.</summary>
    public required bool IsEnabled { get; init; }

    /// <summary>The ways it may authenticate, RFC 6749 §2.3.2, as in RFC 8414's token_endpoint_auth_methods_supported.</summary>
    public required FrozenSet<string> AuthenticationMethods { get; init; }

    /// <summary>How long its tokens live; null for the server's default.</summary>
    public required TimeSpan? TokenLifetime { get; init; }

    /// <summary>How many tokens a minute it may have of each replica; null: any number.</summary>
    public required int? TokensPerMinute { get; init; }

    /// <summary>Claims for its tokens beside those every token has. None has the name of one that a token always has.</summary>
    public required IReadOnlyDictionary<string, JsonElement> ExtraClaims { get; init; }

    /// <summary>All its secrets, dead ones too.</summary>
    public required IReadOnlyList<ClientSecret> Secrets { get; init; }

    /// <summary>The scopes it may ask for.</summary>
    public required IReadOnlyList<HeldScope> Scopes { get; init; }

    /// <summary>The resources it speaks for: it may ask what tokens for them are worth.</summary>
    public required IReadOnlyList<Resource> Resources { get; init; }

    /// <summary>Its tokens that were issued up to this instant are dead; null: none is.</summary>
    public required DateTimeOffset? TokensNotBefore { get; init; }
}

/// <summary>A scope that a client holds. It may hold one of the same name at another resource.</summary>
/// <param name="Name">The scope-token.</param>
/// <param name="Resource">The resource to which the scope belongs.</param>
/// <param name="IsDefault">Granted when a request names no scope.</param>
internal sealed record HeldScope(string Name, Resource Resource, bool IsDefault);

/// <summary>An API that takes our tokens.</summary>
/// <param name="Id">The aud of its tokens: an absolute URI (RFC 8707 §2), or a plain name.</param>
/// <param name="SigningAlgorithm">The algorithm that signs its tokens; null for the server's default.</param>
/// <param name="MaxTokenLifetime">The longest that a token for it lives; null: there is no such limit.</param>
internal sealed record Resource(string Id, string? SigningAlgorithm, TimeSpan? MaxTokenLifetime);
