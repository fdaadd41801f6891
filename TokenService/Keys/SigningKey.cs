using System.Text.Json;

namespace TokenService.Keys;

/// <summary>The state of a signing key at an instant.</summary>
internal enum SigningKeyState
{
    /// <summary>Published; does not sign yet.</summary>
    Next,

    /// <summary>Published and may sign.</summary>
    Signing,

    /// <summary>Has stopped signing; published until the last token it signed has expired.</summary>
    Retiring,

    /// <summary>No longer published.</summary>
    Gone,

    /// <summary>Withdrawn by an admin because it is compromised; neither signs nor is published.</summary>
    Withdrawn,
}

/// <summary>A signing key without its private half: the public key, and the absolute dates of its states.</summary>
internal sealed record SigningKey
{
    // No token lives longer than a day, and verifiers forgive some minutes.
    private static readonly TimeSpan LifeOfLastTokens = TimeSpan.FromDays(1) + TimeSpan.FromMinutes(15);

    /// <summary>The JWK thumbprint (RFC 7638). It follows from the key, so two keys never share a kid.</summary>
    public required string Kid { get; init; }

    /// <summary>The one algorithm it signs with (RFC 8725 §3.1).</summary>
    public required string Algorithm { get; init; }

    /// <summary>The public key as the JWKS has it.</summary>
    public required JsonElement PublicJwk { get; init; }

    /// <summary>The JWKS has the key from this instant.</summary>
    public required DateTimeOffset PublishedAt { get; init; }

    /// <summary>Every verifier has the key from this instant, because older copies of the JWKS have expired.</summary>
    public required DateTimeOffset KnownFrom { get; init; }

    /// <summary>The key signs from this instant.</summary>
    public required DateTimeOffset SignsFrom { get; init; }

    /// <summary>The key has stopped signing at this instant; null: it signs until a successor is planned.</summary>
    public DateTimeOffset? SignsUntil { get; init; }

    /// <summary>The JWKS lacks the key from this instant; null: no end is set.</summary>
    public DateTimeOffset? GoneAfter { get; init; }

    /// <summary>
    /// The key is not published at and after this instant, and does not sign in the day before it, even if its other dates
    /// say so: the seal binds it.
    /// Null: the key was made before seals had it.
    /// </summary>
    public DateTimeOffset? EndsBy { get; init; }

    /// <summary>When an admin withdrew the key as compromised; null: nobody did.</summary>
    public DateTimeOffset? WithdrawnAt { get; init; }

    /// <summary>The largest max-age that the JWKS may have while this is the newest key.</summary>
    public required TimeSpan JwksMaxAge { get; init; }

    /// <summary>The longest lifetime of a token that this key has signed, or a larger value.</summary>
    public TimeSpan MaxTokenLifetime { get; init; }

    /// <summary>
    /// The id of the sealing key that opens the private half; null once the private half is destroyed.
    /// </summary>
    public string? SealedBy { get; init; }

    public bool HasBegunAt(DateTimeOffset now) => SignsFrom <= now;

    public bool HasEndedAt(DateTimeOffset now) =>
        WithdrawnAt is not null || SignsUntil <= now || EndsBy - LifeOfLastTokens <= now;

    // PublishedAt is not compared: a replica whose clock is behind publishes a key as soon as it has loaded it.
    public bool IsPublishedAt(DateTimeOffset now) =>
        WithdrawnAt is null && (GoneAfter is null || GoneAfter > now) && (EndsBy is null || EndsBy > now);

    public SigningKeyState StateAt(DateTimeOffset now) => this switch
    {
        { WithdrawnAt: not null } => SigningKeyState.Withdrawn,
        _ when !IsPublishedAt(now) => SigningKeyState.Gone,
        _ when HasEndedAt(now) => SigningKeyState.Retiring,
        _ when HasBegunAt(now) => SigningKeyState.Signing,
        _ => SigningKeyState.Next,
    };
}
