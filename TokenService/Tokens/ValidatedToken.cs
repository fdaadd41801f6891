using System.Text.Json;
using TokenService.Protocol;

namespace TokenService.Tokens;

/// <summary>The claims of an access token whose signature this server verified and that has not expired.</summary>
internal sealed record ValidatedToken
{
    /// <summary>The jti claim.</summary>
    public required string Id { get; init; }

    /// <summary>The client that the token was issued to.</summary>
    public required string ClientId { get; init; }

    /// <summary>The aud claim: the one resource that accepts the token.</summary>
    public required string Audience { get; init; }

    public required ScopeSet Scope { get; init; }

    /// <summary>The typ in its header.</summary>
    public required string Type { get; init; }

    /// <summary>The algorithm of its signature.</summary>
    public required string Algorithm { get; init; }

    /// <summary>The cnf claim: the key that the token is bound to.</summary>
    public required Confirmation Confirmation { get; init; }

    public required DateTimeOffset IssuedAt { get; init; }

    public required DateTimeOffset ExpiresAt { get; init; }

    /// <summary>All claims, extra ones included.</summary>
    public required JsonElement Claims { get; init; }
}

/// <summary>The outcome of validating a token.</summary>
/// <param name="Token">The claims; null: this server did not issue the token, or it has expired.</param>
/// <param name="Failure">Why the token is not valid, one of <see cref="Reason"/>; null: it is valid.</param>
internal readonly record struct TokenValidation(ValidatedToken? Token, string? Failure)
{
    public static implicit operator TokenValidation(string failure) => new(Token: null, failure);
}
