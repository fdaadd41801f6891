namespace TokenService.Keys;

/// <summary>All signing keys there are, and what follows from them at an instant. Pure.</summary>
internal sealed class KeyRing(IEnumerable<SigningKey> keys)
{
    private readonly SigningKey[] keys = [.. keys.OrderBy(key => key.SignsFrom).ThenBy(key => key.Kid, StringComparer.Ordinal)];

    /// <summary>All keys, by when they sign.</summary>
    public IReadOnlyList<SigningKey> Keys => keys;

    /// <summary>The key that signs; null: there is none.</summary>
    /// <param name="now">The instant.</param>
    /// <param name="algorithm">What is wanted. Until every verifier can have a key of it, the default's signs.</param>
    /// <param name="byDefault">
    /// The default algorithm. Until every verifier can have a key of that, as after it was changed, the first that they have does.
    /// </param>
    public SigningKey? SigningAt(DateTimeOffset now, string algorithm, string byDefault) =>
        SigningOf(algorithm, now) ?? SigningOf(byDefault, now) ?? SigningInNeed(now, algorithm);

    private SigningKey? SigningInNeed(DateTimeOffset now, string algorithm) =>
        keys.FirstOrDefault(key => !key.HasEndedAt(now) && (key.HasBegunAt(now) || key.KnownFrom <= now))
        // Nothing that every verifier has: a clock went back, or all of it was withdrawn. What is to come is published.
        ?? keys.FirstOrDefault(key => !key.HasEndedAt(now) && key.Algorithm == algorithm)
        ?? keys.FirstOrDefault(key => !key.HasEndedAt(now));

    /// <summary>
    /// Of one algorithm, the key that began last; where that was withdrawn, the next, once every verifier has it. Null: there is none.
    /// </summary>
    public SigningKey? SigningOf(string algorithm, DateTimeOffset now)
    {
        SigningKey? next = null;
        for (var i = keys.Length - 1; i >= 0; i--)
        {
            var key = keys[i];
            if (key.Algorithm != algorithm || key.HasEndedAt(now))
                continue;
            if (key.HasBegunAt(now))
                return key;
            if (key.KnownFrom <= now)
                next = key;
        }

        return next;
    }

    /// <summary>The keys a verifier finds in the JWKS.</summary>
    public IEnumerable<SigningKey> PublishedAt(DateTimeOffset now) => keys.Where(key => key.IsPublishedAt(now));

    /// <summary>How long verifiers may keep the JWKS: as configured, but no longer than the next key to come will wait for.</summary>
    public TimeSpan JwksMaxAge(TimeSpan configured) =>
        keys.MaxBy(key => key.PublishedAt) is { } newest && newest.JwksMaxAge < configured ? newest.JwksMaxAge : configured;

    /// <summary>When the next key begins to sign; null: none is to come.</summary>
    public DateTimeOffset? NextStepAfter(DateTimeOffset now) =>
        keys.FirstOrDefault(key => key.StateAt(now) == SigningKeyState.Next)?.SignsFrom;
}
