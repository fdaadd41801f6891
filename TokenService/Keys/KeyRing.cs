namespace TokenService.Keys;

/// <summary>All signing keys, and which of them signs or is published at an instant. It is pure.</summary>
internal sealed class KeyRing(IEnumerable<SigningKey> keys)
{
    private readonly SigningKey[] keys = [.. keys.OrderBy(key => key.SignsFrom).ThenBy(key => key.Kid, StringComparer.Ordinal)];

    /// <summary>All keys, in the order in which they begin to sign.</summary>
    public IReadOnlyList<SigningKey> Keys => keys;

    /// <summary>The key that signs for resources without an algorithm of their own; null: there is none.</summary>
    /// <param name="now">The instant.</param>
    /// <param name="algorithm">
    /// The default algorithm. Until every verifier has a key of it, as after a change of the setting, another key
    /// signs: the first that every verifier has.
    /// </param>
    public SigningKey? SigningByDefault(DateTimeOffset now, string algorithm) =>
        SigningOf(algorithm, now)
        ?? keys.FirstOrDefault(key => !key.HasEndedAt(now) && (key.HasBegunAt(now) || key.KnownFrom <= now))
        // No key is left that every verifier has: the others were withdrawn, or a clock is behind. The next that every
        // verifier will have signs early.
        ?? keys.Where(key => !key.HasEndedAt(now)).MinBy(key => key.KnownFrom);

    /// <summary>
    /// The key that signs for resources that ask for an algorithm: the one of that algorithm that began to sign last.
    /// If it was withdrawn, the next key, once every verifier has that. Null: there is none, and no key of another
    /// algorithm takes its place, because such a resource verifies no other.
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

    /// <summary>From when a key of an algorithm may sign; null: there is no such key.</summary>
    public DateTimeOffset? SignsFrom(string algorithm, DateTimeOffset now) =>
        keys.Where(key => key.Algorithm == algorithm && !key.HasEndedAt(now))
            .Min(key => (DateTimeOffset?)(key.KnownFrom < key.SignsFrom ? key.KnownFrom : key.SignsFrom));

    /// <summary>The keys a verifier finds in the JWKS.</summary>
    public IEnumerable<SigningKey> PublishedAt(DateTimeOffset now) => keys.Where(key => key.IsPublishedAt(now));

    /// <summary>
    /// How long verifiers may keep the JWKS: the setting, or the value that the newest key was planned with, if that is
    /// shorter.
    /// </summary>
    public TimeSpan JwksMaxAge(TimeSpan configured) =>
        keys.MaxBy(key => key.PublishedAt) is { } newest && newest.JwksMaxAge < configured ? newest.JwksMaxAge : configured;

    /// <summary>When the next key begins to sign; null: there is no next key.</summary>
    public DateTimeOffset? NextStepAfter(DateTimeOffset now) =>
        keys.FirstOrDefault(key => key.StateAt(now) == SigningKeyState.Next)?.SignsFrom;
}
