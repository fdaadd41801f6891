using System.Text.Json;

namespace TokenService.Keys;

/// <summary>Where a key is in its life.</summary>
internal enum SigningKeyState
{
    /// <summary>Published, and to sign.</summary>
    Next,

    /// <summary>Signs.</summary>
    Signing,

    /// <summary>Signs no more, and is published until its last token is dead.</summary>
    Retiring,

    /// <summary>Not published any more.</summary>
    Gone,

    /// <summary>Taken out of its life as compromised.</summary>
    Withdrawn,
}

/// <summary>The public half of a key that signs tokens, and the absolute dates of its life.</summary>
internal sealed record SigningKey
{
    /// <summary>The JWK thumbprint (RFC 7638): the same for the same key, so never used for two.</summary>
    public required string Kid { get; init; }

    /// <summary>The one algorithm it signs with (RFC 8725 §3.1).</summary>
    public required string Algorithm { get; init; }

    /// <summary>As the JWKS shows it.</summary>
    public required JsonElement PublicJwk { get; init; }

    /// <summary>In the JWKS from this instant.</summary>
    public required DateTimeOffset PublishedAt { get; init; }

    /// <summary>Every verifier has it from this instant.</summary>
    public required DateTimeOffset KnownFrom { get; init; }

    /// <summary>Signs from this instant.</summary>
    public required DateTimeOffset SignsFrom { get; init; }

    /// <summary>Signs no more at and after this instant; null: until it has a successor.</summary>
    public DateTimeOffset? SignsUntil { get; init; }

    /// <summary>Out of the JWKS at and after this instant; null: no end is set.</summary>
    public DateTimeOffset? GoneAfter { get; init; }

    /// <summary>When it was withdrawn as compromised.</summary>
    public DateTimeOffset? WithdrawnAt { get; init; }

    /// <summary>While it is the newest, no JWKS is served that may be cached for longer.</summary>
    public required TimeSpan JwksMaxAge { get; init; }

    /// <summary>High-water mark: no token it has signed lives longer.</summary>
    public TimeSpan MaxTokenLifetime { get; init; }

    /// <summary>The id of the sealing key that opens its private half; null once that is destroyed.</summary>
    public string? SealedBy { get; init; }

    public bool HasBegunAt(DateTimeOffset now) => SignsFrom <= now;

    public bool HasEndedAt(DateTimeOffset now) => WithdrawnAt is not null || SignsUntil <= now;

    // By what is known, not by PublishedAt: a replica whose clock is behind shows a key it knows.
    public bool IsPublishedAt(DateTimeOffset now) => WithdrawnAt is null && (GoneAfter is null || GoneAfter > now);

    public SigningKeyState StateAt(DateTimeOffset now) => this switch
    {
        { WithdrawnAt: not null } => SigningKeyState.Withdrawn,
        _ when !IsPublishedAt(now) => SigningKeyState.Gone,
        _ when HasEndedAt(now) => SigningKeyState.Retiring,
        _ when HasBegunAt(now) => SigningKeyState.Signing,
        _ => SigningKeyState.Next,
    };
}
