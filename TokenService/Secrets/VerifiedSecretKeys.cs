using System.Collections.Frozen;
using System.Diagnostics.CodeAnalysis;
using System.Security.Cryptography;

namespace TokenService.Secrets;

/// <summary>
/// A key for MACs of verified secrets. It follows from a sealing key, which the configuration has and the database has
/// not.
/// </summary>
/// <param name="Id">The id of the sealing key.</param>
/// <param name="Key">32 bytes.</param>
internal sealed record VerifiedSecretKey(string Id, byte[] Key)
{
    // Kept, because making one takes longer than the MAC itself. Each thread has its own: two may not use one at once.
    [ThreadStatic]
    private static KeyedHash? last;

    private static readonly byte[] Purpose = "TokenService verified secrets"u8.ToArray();

    public static VerifiedSecretKey Derive(string id, byte[] sealingKey) =>
        new(id, HKDF.DeriveKey(HashAlgorithmName.SHA256, sealingKey, HMACSHA256.HashSizeInBytes, info: Purpose));

    /// <summary>HMAC-SHA-256 of a message.</summary>
    public SecretMac Mac(ReadOnlySpan<byte> message)
    {
        if (!ReferenceEquals(last?.Key, this))
        {
            last?.Hash.Dispose();
            last = new KeyedHash(this, IncrementalHash.CreateHMAC(HashAlgorithmName.SHA256, Key));
        }

        last.Hash.AppendData(message);
        Span<byte> mac = stackalloc byte[HMACSHA256.HashSizeInBytes];
        last.Hash.GetHashAndReset(mac);
        return SecretMac.Of(mac);
    }

    // A record's own ToString would print the key into any log that is handed one of these.
    public override string ToString() => Id;

    private sealed record KeyedHash(VerifiedSecretKey Key, IncrementalHash Hash);
}

/// <summary>The keys for MACs of verified secrets, one for each configured sealing key.</summary>
/// <param name="current">The key for new MACs.</param>
/// <param name="all">All keys, the current one among them.</param>
internal sealed class VerifiedSecretKeys(VerifiedSecretKey current, IEnumerable<VerifiedSecretKey> all)
{
    private readonly FrozenDictionary<string, VerifiedSecretKey> byId = all.ToFrozenDictionary(key => key.Id, StringComparer.Ordinal);

    public VerifiedSecretKey Current => current;

    public bool TryGet(string id, [NotNullWhen(true)] out VerifiedSecretKey? key) => byId.TryGetValue(id, out key);
}
