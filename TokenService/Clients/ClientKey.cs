using TokenService.Jose;
using TokenService.Protocol;

namespace TokenService.Clients;

/// <summary>
/// One row of <c>client_key</c>: a public key that verifies the client's assertions, and the times between which it is
/// valid.
/// </summary>
internal sealed record ClientKey
{
    private readonly Lazy<VerificationKey?> key;

    public ClientKey() => key = new Lazy<VerificationKey?>(() => VerificationKey.Create(Jwk!, Algorithm!));

    /// <summary>The kid, which is unique among the keys of the client.</summary>
    public required string Kid { get; init; }

    /// <summary>The key as the table <c>credential_use</c> names it.</summary>
    public required CredentialId Id { get; init; }

    /// <summary>The one algorithm of its signatures (RFC 8725 §3.1).</summary>
    public required string Algorithm { get; init; }

    /// <summary>The key; null: the database has one that this server would not have accepted.</summary>
    public required PublicJwk? Jwk { get; init; }

    public required DateTimeOffset NotBefore { get; init; }

    /// <summary>Null: it does not expire.</summary>
    public required DateTimeOffset? ExpiresAt { get; init; }

    public required DateTimeOffset? RevokedAt { get; init; }

    /// <summary>True when NotBefore had passed by the database's clock at the time of the read.</summary>
    public required bool HasBegun { get; init; }

    /// <summary>True when it had expired or was revoked by the database's clock at the time of the read.</summary>
    public required bool IsOver { get; init; }

    /// <summary>
    /// The key, ready to verify; null: its point is not on the curve, or this machine lacks the library for it. Made at the
    /// first use.
    /// </summary>
    public VerificationKey? VerificationKey => Jwk is null ? null : key.Value;

    /// <summary>Why the key is not valid at an instant, one of <see cref="Reason"/>; null: it is valid.</summary>
    public string? FailureAt(DateTimeOffset now)
    {
        if (IsOver || RevokedAt <= now || ExpiresAt <= now)
            return RevokedAt is null || ExpiresAt < RevokedAt ? Reason.KeyExpired : Reason.KeyRevoked;
        return HasBegun || NotBefore <= now ? null : Reason.KeyNotYetValid;
    }

    /// <summary>True when its signatures may have this <c>alg</c>. Ed25519 has two names (RFC 9864 §2.2).</summary>
    public bool IsFor(string algorithm) =>
        algorithm == Algorithm || (Algorithm == VerificationKey.Ed25519 && algorithm == VerificationKey.EdDsa);

    public override string ToString() => Kid;
}
