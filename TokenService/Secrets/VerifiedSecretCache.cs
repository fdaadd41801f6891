using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;
using Microsoft.Extensions.Options;
using TokenService.Caching;

namespace TokenService.Secrets;

/// <summary>HMAC-SHA-256 of a presented secret and the row whose secret it should be; 32 bytes.</summary>
internal readonly record struct SecretMac(UInt128 First, UInt128 Second)
{
    public bool Matches(SecretMac other) => CryptographicOperations.FixedTimeEquals(
        MemoryMarshal.AsBytes(new ReadOnlySpan<SecretMac>(in this)), MemoryMarshal.AsBytes(new ReadOnlySpan<SecretMac>(in other)));
}

/// <summary>When a secret was last verified, in terms of <see cref="HashingOptions.SecretMemory"/>.</summary>
internal enum Recognition
{
    /// <summary>Never, as far as the cache knows.</summary>
    None,

    /// <summary>At least twice that long ago.</summary>
    Old,

    /// <summary>Longer ago, but not twice as long.</summary>
    Recent,

    /// <summary>Not longer ago: the secret need not be hashed.</summary>
    Current,
}

/// <summary>
/// Secrets that were verified, so that the next request with one costs a microsecond. Each is kept as HMAC-SHA-256, under a key made at
/// start, over the id and digest of its row and the secret itself, so a row that changes makes it another secret. Whether the row is
/// alive is not asked here: the caller does that before, for every request.
/// </summary>
internal sealed class VerifiedSecretCache(IOptions<HashingOptions> options, TimeProvider clock)
{
    private const int DigestLength = (2 * sizeof(int)) + Argon2Digest.SaltLength + Argon2Digest.HashLength;

    // About 200 bytes each.
    private const int MaxSecrets = 50_000;

    private readonly byte[] key = RandomNumberGenerator.GetBytes(HMACSHA256.HashSizeInBytes);
    private readonly TimeSpan memory = options.Value.SecretMemory;

    // By the secret's id.
    private readonly BoundedMap<string, Entry> entries = new(MaxSecrets);

    /// <summary>When the secret that has this MAC was last verified as that of the row.</summary>
    public Recognition Recognise(ClientSecret row, SecretMac mac)
    {
        if (!entries.TryGetValue(row.Id, out var entry) || !entry.Mac.Matches(mac))
            return Recognition.None;
        var age = clock.GetElapsedTime(entry.VerifiedAt);
        if (age < memory)
            return Recognition.Current;
        return age < 2 * memory ? Recognition.Recent : Recognition.Old;
    }

    /// <summary>Keeps a secret that was verified a moment ago.</summary>
    public void Add(ClientSecret row, SecretMac mac)
    {
        if (memory > TimeSpan.Zero)
            entries.Set(row.Id, new Entry(mac, clock.GetTimestamp()));
    }

    /// <param name="row">The row whose secret it should be.</param>
    /// <param name="presented">At most <see cref="ClientSecret.MaxLength"/> bytes of UTF-8.</param>
    public SecretMac MacOf(ClientSecret row, string presented)
    {
        Span<byte> message = stackalloc byte[ClientSecret.MaxIdLength + 1 + DigestLength + ClientSecret.MaxLength];
        try
        {
            // The id has no NUL, and what stands between it and the secret has a fixed length.
            var length = Encoding.ASCII.GetBytes(row.Id, message);
            message[length++] = 0;
            BinaryPrimitives.WriteInt32LittleEndian(message[length..], row.Digest.Cost.MemoryKiB);
            BinaryPrimitives.WriteInt32LittleEndian(message[(length + sizeof(int))..], row.Digest.Cost.Iterations);
            row.Digest.Salt.CopyTo(message[(length + (2 * sizeof(int)))..]);
            row.Digest.Hash.CopyTo(message[(length + DigestLength - Argon2Digest.HashLength)..]);
            length += DigestLength;
            length += Encoding.UTF8.GetBytes(presented, message[length..]);
            return Mac(message[..length]);
        }
        finally
        {
            CryptographicOperations.ZeroMemory(message);
        }
    }

    /// <summary>One MAC for several, in this order.</summary>
    public SecretMac MacOf(ReadOnlySpan<SecretMac> macs) => Mac(MemoryMarshal.AsBytes(macs));

    private SecretMac Mac(ReadOnlySpan<byte> message)
    {
        Span<byte> mac = stackalloc byte[HMACSHA256.HashSizeInBytes];
        HMACSHA256.HashData(key, message, mac);
        return MemoryMarshal.Read<SecretMac>(mac);
    }

    /// <param name="Mac">The MAC of the secret.</param>
    /// <param name="VerifiedAt">A timestamp.</param>
    private sealed record Entry(SecretMac Mac, long VerifiedAt);
}
