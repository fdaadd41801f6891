using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;
using Microsoft.Extensions.Options;
using TokenService.Caching;

namespace TokenService.Secrets;

/// <summary>HMAC-SHA-256 over a row and the secret presented for it; 32 bytes.</summary>
internal readonly record struct SecretMac(UInt128 First, UInt128 Second)
{
    public bool Matches(SecretMac other) => CryptographicOperations.FixedTimeEquals(
        MemoryMarshal.AsBytes(new ReadOnlySpan<SecretMac>(in this)),
        MemoryMarshal.AsBytes(new ReadOnlySpan<SecretMac>(in other)));

    public static SecretMac Of(ReadOnlySpan<byte> bytes) => MemoryMarshal.Read<SecretMac>(bytes);

    public byte[] ToArray() => MemoryMarshal.AsBytes(new ReadOnlySpan<SecretMac>(in this)).ToArray();
}

/// <summary>A MAC as the table verified_secret has it.</summary>
/// <param name="KeyId">The id of the <see cref="VerifiedSecretKey"/> that made it.</param>
internal sealed record KeptMac(string KeyId, SecretMac Mac);

/// <summary>
/// Whether a secret was verified by hashing before. An imported secret is hashed again some time after that, as
/// <see cref="HashingOptions.SecretMemory"/> says.
/// </summary>
internal enum Recognition
{
    /// <summary>The secret was not verified, as far as the cache and the database know.</summary>
    None,

    /// <summary>At least twice SecretMemory ago: hash it again.</summary>
    Old,

    /// <summary>
    /// Between once and twice SecretMemory ago: hash it again, but accept it if hashing is overloaded.
    /// </summary>
    Recent,

    /// <summary>A generated secret, or less than SecretMemory ago: accept it without hashing.</summary>
    Current,
}

/// <summary>
/// A cache of verified secrets, so that the next request with the same secret costs a microsecond. The cache keeps no
/// secret, but an HMAC-SHA-256 over the row's id, its digest and the secret. A row whose digest changes therefore no
/// longer matches. The cache does not know whether the row is still valid: the caller checks that for every request.
/// MACs of generated secrets, which have 256 random bits, are kept in the database too: a replica that starts hashes
/// none of them again.
/// </summary>
internal sealed class VerifiedSecretCache(
    IOptions<HashingOptions> options, VerifiedSecretKeys keys, VerifiedSecretQueue queue, TimeProvider clock)
{
    private const int DigestLength = (2 * sizeof(int)) + Argon2Digest.SaltLength + Argon2Digest.HashLength;

    // An entry takes about 200 bytes.
    private const int MaxSecrets = 50_000;

    private readonly TimeSpan memory = options.Value.SecretMemory;

    // By the id of the secret's row.
    private readonly BoundedMap<string, Entry> entries = new(MaxSecrets);

    /// <summary>Whether a secret was verified as the secret of the row.</summary>
    /// <param name="row">The row for which the secret is presented.</param>
    /// <param name="presented">The secret.</param>
    /// <param name="mac">The MAC of both.</param>
    public Recognition Recognise(ClientSecret row, string presented, SecretMac mac)
    {
        if (entries.TryGetValue(row.Id, out var entry) && entry.Mac.Matches(mac))
            return row.IsImported ? RecognitionAt(clock.GetElapsedTime(entry.VerifiedAt)) : Recognition.Current;
        if (!IsKept(row, presented, mac))
            return Recognition.None;
        entries.Set(row.Id, new Entry(mac, clock.GetTimestamp()));
        return Recognition.Current;
    }

    /// <summary>Adds a secret that hashing has just verified.</summary>
    public void Add(ClientSecret row, SecretMac mac)
    {
        if (memory <= TimeSpan.Zero)
            return;
        entries.Set(row.Id, new Entry(mac, clock.GetTimestamp()));
        if (!row.IsImported)
            queue.Add(row.Id, new KeptMac(keys.Current.Id, mac));
    }

    /// <param name="row">The row for which the secret is presented.</param>
    /// <param name="presented">The secret, at most <see cref="ClientSecret.MaxLength"/> bytes of UTF-8.</param>
    public SecretMac MacOf(ClientSecret row, string presented) => MacOf(row, presented, keys.Current);

    /// <summary>One MAC over several MACs; their order matters.</summary>
    public SecretMac MacOf(ReadOnlySpan<SecretMac> macs) => keys.Current.Mac(MemoryMarshal.AsBytes(macs));

    private Recognition RecognitionAt(TimeSpan age)
    {
        if (age < memory)
            return Recognition.Current;
        return age < 2 * memory ? Recognition.Recent : Recognition.Old;
    }

    private bool IsKept(ClientSecret row, string presented, SecretMac mac)
    {
        if (memory <= TimeSpan.Zero || row.Kept is not { } kept || !keys.TryGet(kept.KeyId, out var key))
            return false;
        if (key == keys.Current)
            return kept.Mac.Matches(mac);
        if (!kept.Mac.Matches(MacOf(row, presented, key)))
            return false;
        // The sealing key was replaced: the MAC is kept under the new one before the old one is removed.
        queue.Add(row.Id, new KeptMac(keys.Current.Id, mac));
        return true;
    }

    private static SecretMac MacOf(ClientSecret row, string presented, VerifiedSecretKey key)
    {
        Span<byte> message = stackalloc byte[ClientSecret.MaxIdLength + 1 + DigestLength + ClientSecret.MaxLength];
        try
        {
            // Two different inputs never make the same message: the id has no NUL, and the digest has a fixed length.
            var length = Encoding.ASCII.GetBytes(row.Id, message);
            message[length++] = 0;
            BinaryPrimitives.WriteInt32LittleEndian(message[length..], row.Digest.Cost.MemoryKiB);
            BinaryPrimitives.WriteInt32LittleEndian(message[(length + sizeof(int))..], row.Digest.Cost.Iterations);
            row.Digest.Salt.CopyTo(message[(length + (2 * sizeof(int)))..]);
            row.Digest.Hash.CopyTo(message[(length + DigestLength - Argon2Digest.HashLength)..]);
            length += DigestLength;
            length += Encoding.UTF8.GetBytes(presented, message[length..]);
            return key.Mac(message[..length]);
        }
        finally
        {
            CryptographicOperations.ZeroMemory(message);
        }
    }

    /// <param name="VerifiedAt">A timestamp of the clock.</param>
    private sealed record Entry(SecretMac Mac, long VerifiedAt);
}
