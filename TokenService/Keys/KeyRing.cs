namespace TokenService.Keys;

/// <summary>All signing keys there are, and what follows from them at an instant. Pure.</summary>
internal sealed class KeyRing(IEnumerable<SigningKey> keys)
{
    private readonly SigningKey[] keys = [.. keys.OrderBy(key => key.SignsFrom).ThenBy(key => key.Kid, StringComparer.Ordinal)];

    /// <summary>All keys, by when they sign.</summary>
    public IReadOnlyList<SigningKey> Keys => keys;

    /// <summary>
    /// The key that signs where an algorithm is wanted. Another algorithm's signs until one of the wanted has begun. Where no
    /// key has begun, as after a clock went back, it is the one that will first: it is published already. Null: there is none.
    /// </summary>
    public SigningKey? SigningAt(DateTimeOffset now, string algorithm)
    {
        SigningKey? begun = null, toCome = null;
        for (var i = keys.Length - 1; i >= 0; i--)
        {
            var key = keys[i];
            if (key.HasEndedAt(now))
                continue;

            if (!key.HasBegunAt(now))
                toCome = toCome is null || key.Algorithm == algorithm || toCome.Algorithm != algorithm ? key : toCome;
            else if (key.Algorithm == algorithm)
                return key;
            else
                begun ??= key;
        }

        return begun ?? toCome;
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
