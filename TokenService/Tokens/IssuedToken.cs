using System.Text.Json;
using TokenService.Protocol;

namespace TokenService.Tokens;

/// <summary>An access token of ours that somebody shows us: what it says, once its signature was verified and it has not expired.</summary>
internal sealed record IssuedToken
{
    /// <summary>Its jti.</summary>
    public required string Id { get; init; }

    /// <summary>Whose it is.</summary>
    public required string ClientId { get; init; }

    /// <summary>The one resource it is for.</summary>
    public required string Audience { get; init; }

    public required ScopeSet Scope { get; init; }

    public required DateTimeOffset IssuedAt { get; init; }

    public required DateTimeOffset ExpiresAt { get; init; }

    /// <summary>All its claims.</summary>
    public required JsonElement Claims { get; init; }
}

/// <summary>What comes of reading a token.</summary>
/// <param name="Token">Null: it is none of ours that is good.</param>
/// <param name="Flaw">Why not, for the event log; null: it is.</param>
internal readonly record struct Reading(IssuedToken? Token, string? Flaw)
{
    public static implicit operator Reading(IssuedToken token) => new(token, Flaw: null);

    public static implicit operator Reading(string flaw) => new(Token: null, flaw);
}
