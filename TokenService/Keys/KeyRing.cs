namespace TokenService.Keys;

/// <summary>All signing keys there are, and what follows from them at an instant. Pure.</summary>
internal sealed class KeyRing(IEnumerable<SigningKey> keys)
{
    private readonly SigningKey[] keys = [.. keys];

    /// <summary>The key that signs: of those that may, the one that began last. Null when none may.</summary>
    public SigningKey? SigningAt(DateTimeOffset now) =>
        keys.Where(key => key.SignsAt(now) && key.IsPublishedAt(now))
            .OrderByDescending(key => key.SignsFrom)
            .ThenBy(key => key.Kid, StringComparer.Ordinal)
            .FirstOrDefault();

    /// <summary>The keys a verifier may find in the JWKS, the ones that sign soonest last.</summary>
    public IEnumerable<SigningKey> PublishedAt(DateTimeOffset now) =>
        keys.Where(key => key.IsPublishedAt(now))
            .OrderByDescending(key => key.SignsFrom)
            .ThenBy(key => key.Kid, StringComparer.Ordinal);
}
