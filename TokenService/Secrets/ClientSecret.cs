using TokenService.Protocol;

namespace TokenService.Secrets;

/// <summary>
/// One row of <c>client_secret</c>: the digest of a secret, and the times between which the secret is valid.
/// </summary>
internal sealed record ClientSecret
{
    /// <summary>Bytes of UTF-8 a secret may have at most.</summary>
    public const int MaxLength = 256;

    /// <summary>Characters an id may have at most, as in the constraint <c>client_secret_id_grammar</c>.</summary>
    public const int MaxIdLength = 21;

    // A secret imported from another system does not name its row. Its id has this prefix, which no selector can have.
    private const string ImportedPrefix = "imported_";

    /// <summary>The selector inside a generated secret; <c>imported_…</c> for an imported one.</summary>
    public required string Id { get; init; }

    public required Argon2Digest Digest { get; init; }

    public required DateTimeOffset NotBefore { get; init; }

    /// <summary>
    /// Its own expiry or the end of the maximum age that the policy sets, the earlier of the two; null: none.
    /// </summary>
    public required DateTimeOffset? ExpiresAt { get; init; }

    public required DateTimeOffset? RevokedAt { get; init; }

    /// <summary>True when NotBefore had passed by the database's clock at the time of the read.</summary>
    public required bool HasBegun { get; init; }

    /// <summary>True when it had expired or was revoked by the database's clock at the time of the read.</summary>
    public required bool IsOver { get; init; }

    /// <summary>
    /// The MAC that the database keeps of the verified secret; null: the secret was not verified yet, or is imported.
    /// </summary>
    public KeptMac? Kept { get; init; }

    /// <summary>True when the secret does not contain the id of its row, so that only hashing can verify it.</summary>
    public bool IsImported => Id.StartsWith(ImportedPrefix, StringComparison.Ordinal);

    public bool IsAliveAt(DateTimeOffset now) => FailureAt(now) is null;

    /// <summary>Why the secret is not valid at an instant, one of <see cref="Reason"/>; null: it is valid.</summary>
    public string? FailureAt(DateTimeOffset now)
    {
        if (IsOver || RevokedAt <= now || ExpiresAt <= now)
            return RevokedAt is null || ExpiresAt < RevokedAt ? Reason.SecretExpired : Reason.SecretRevoked;
        return HasBegun || NotBefore <= now ? null : Reason.SecretNotYetValid;
    }

    /// <summary>True for the same row with the same digest, even when the two were read at different times.</summary>
    public bool IsSameAs(ClientSecret other) =>
        ReferenceEquals(this, other)
        || (Id == other.Id
            && Digest.Cost == other.Digest.Cost
            && Digest.Salt.AsSpan().SequenceEqual(other.Digest.Salt)
            && Digest.Hash.AsSpan().SequenceEqual(other.Digest.Hash));

    public override string ToString() => Id;

    /// <summary>A new random id for an imported secret.</summary>
    public static string NewImportedId() => ImportedPrefix + GeneratedSecret.NewSelector();
}
