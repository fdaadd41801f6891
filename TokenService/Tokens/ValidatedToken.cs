using System.Text.Json;
using TokenService.Protocol;

namespace TokenService.Tokens;

/// <summary>An access token of ours that somebody showed: what it says, once its signature was verified and it has not expired.</summary>
internal sealed record ValidatedToken
{
    /// <summary>Its jti.</summary>
    public required string Id { get; init; }

    /// <summary>The client that it was issued to.</summary>
    public required string ClientId { get; init; }

    /// <summary>The one resource it is for.</summary>
    public required string Audience { get; init; }

    public required ScopeSet Scope { get; init; }

    public required DateTimeOffset IssuedAt { get; init; }

    public required DateTimeOffset ExpiresAt { get; init; }

    /// <summary>All its claims.</summary>
    public required JsonElement Claims { get; init; }
}

/// <summary>The outcome of validating a token.</summary>
/// <param name="Token">What it says; null: we did not issue it, or it has expired.</param>
/// <param name="Failure">Why it is not good, one of <see cref="Reason"/>; null: it is good.</param>
internal readonly record struct TokenValidation(ValidatedToken? Token, string? Failure)
{
    public static implicit operator TokenValidation(string failure) => new(Token: null, failure);
}
