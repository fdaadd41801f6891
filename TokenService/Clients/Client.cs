using System.Collections.Frozen;
using System.Collections.Immutable;
using System.Text.Json;
using TokenService.Secrets;

namespace TokenService.Clients;

/// <summary>A machine that may ask for tokens in its own name, as the database had it when it was read.</summary>
internal sealed record Client
{
    /// <summary>The client_id.</summary>
    public required string Id { get; init; }

    /// <summary>False: the client is refused like an unknown one.</summary>
    public required bool IsEnabled { get; init; }

    /// <summary>The ways in which it may authenticate (RFC 6749 §2.3.2), named as in RFC 7591 §2.</summary>
    public required FrozenSet<string> AuthenticationMethods { get; init; }

    /// <summary>How long its tokens live; null: the server's default.</summary>
    public required TimeSpan? TokenLifetime { get; init; }

    /// <summary>How many tokens a minute each replica issues to it; null: any number.</summary>
    public required int? TokensPerMinute { get; init; }

    /// <summary>
    /// Claims that its tokens have beside those that the server sets. Each has another name than these.
    /// </summary>
    public required IReadOnlyDictionary<string, JsonElement> ExtraClaims { get; init; }

    /// <summary>All its secrets, including dead ones.</summary>
    public required ImmutableArray<ClientSecret> Secrets { get; init; }

    /// <summary>All its public keys, including dead ones.</summary>
    public required ImmutableArray<ClientKey> Keys { get; init; }

    /// <summary>True when its tokens must be bound to a key (RFC 9449 §5.2).</summary>
    public required bool RequiresDpop { get; init; }

    /// <summary>
    /// Until this instant its assertions may have the address of the token endpoint as aud; null: they may not.
    /// </summary>
    public required DateTimeOffset? TokenEndpointAudienceUntil { get; init; }

    /// <summary>The scopes it may ask for.</summary>
    public required IReadOnlyList<HeldScope> Scopes { get; init; }

    /// <summary>The resources it speaks for: it may introspect the tokens for them.</summary>
    public required IReadOnlyList<Resource> Resources { get; init; }

    /// <summary>Its tokens that were issued up to this instant are dead; null: no such instant was set.</summary>
    public required DateTimeOffset? TokensNotBefore { get; init; }

    /// <summary>True when a secret of the client, dead or alive, has this id.</summary>
    public bool HasSecret(string secretId)
    {
        foreach (var secret in Secrets)
        {
            if (secret.Id == secretId)
                return true;
        }

        return false;
    }

    /// <summary>The key of the client, dead or alive, that has this kid; null: there is none.</summary>
    public ClientKey? FindKey(string kid)
    {
        foreach (var key in Keys)
        {
            if (key.Kid == kid)
                return key;
        }

        return null;
    }
}

/// <summary>A scope that a client holds. The client may hold a scope with the same name at another resource.</summary>
/// <param name="Name">The scope-token.</param>
/// <param name="Resource">The resource to which the scope belongs.</param>
/// <param name="IsDefault">Granted when a request names no scope.</param>
internal sealed record HeldScope(string Name, Resource Resource, bool IsDefault);

/// <summary>An API that takes our tokens.</summary>
/// <param name="Id">The aud of its tokens: an absolute URI (RFC 8707 §2), or a plain name.</param>
/// <param name="SigningAlgorithm">The algorithm that signs its tokens; null: the server's default.</param>
/// <param name="MaxTokenLifetime">The longest lifetime of a token for it; null: there is no such limit.</param>
/// <param name="TokenType">The <c>typ</c> of its tokens: <c>at+jwt</c> or <c>JWT</c>.</param>
/// <param name="RequiresDpop">True when tokens for it must be bound to a key.</param>
internal sealed record Resource(
    string Id, string? SigningAlgorithm, TimeSpan? MaxTokenLifetime, string TokenType, bool RequiresDpop);
