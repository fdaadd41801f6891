using TokenService.Protocol;

namespace TokenService.Secrets;

/// <summary>One secret of a client: its digest and its life.</summary>
internal sealed record ClientSecret
{
    /// <summary>Bytes of UTF-8 a secret may have.</summary>
    public const int MaxLength = 256;

    /// <summary>Characters an id may have: the constraint <c>client_secret_id_grammar</c>.</summary>
    public const int MaxIdLength = 21;

    // Secrets brought from another system name no row; the database gives them ids a selector cannot have.
    private const string ImportedPrefix = "imported_";

    /// <summary>The selector inside a secret we made; <c>imported_…</c> otherwise.</summary>
    public required string Id { get; init; }

    public required Argon2Digest Digest { get; init; }

    public required DateTimeOffset NotBefore { get; init; }

    /// <summary>Its own end, or that of the policy's maximum age, whichever comes first; null: none.</summary>
    public required DateTimeOffset? ExpiresAt { get; init; }

    public required DateTimeOffset? RevokedAt { get; init; }

    /// <summary>True when it had begun by the database's clock when it was read.</summary>
    public required bool HasBegun { get; init; }

    /// <summary>True when it had expired or been revoked by the database's clock when it was read.</summary>
    public required bool IsOver { get; init; }

    /// <summary>True when the secret names no row, so that only hashing can tell whether it is this one.</summary>
    public bool IsImported => Id.StartsWith(ImportedPrefix, StringComparison.Ordinal);

    public bool IsAliveAt(DateTimeOffset now) => FailureAt(now) is null;

    /// <summary>Why it is not alive, one of <see cref="Reason"/>; null: it is.</summary>
    public string? FailureAt(DateTimeOffset now)
    {
        if (IsOver || RevokedAt <= now || ExpiresAt <= now)
            return RevokedAt is null || ExpiresAt < RevokedAt ? Reason.SecretExpired : Reason.SecretRevoked;
        return HasBegun || NotBefore <= now ? null : Reason.SecretNotYetValid;
    }

    /// <summary>True for the same row with the same digest, whenever each was read.</summary>
    public bool IsSameAs(ClientSecret other) =>
        ReferenceEquals(this, other)
        || (Id == other.Id
        && Digest.Cost == other.Digest.Cost
        && Digest.Salt.AsSpan().SequenceEqual(other.Digest.Salt)
        && Digest.Hash.AsSpan().SequenceEqual(other.Digest.Hash));

    public override string ToString() => Id;

    /// <summary>A fresh id for an imported secret.</summary>
    public static string NewImportedId() => ImportedPrefix + GeneratedSecret.NewSelector();
}
