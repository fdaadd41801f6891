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
}

/// <summary>
/// How long ago a secret was verified by hashing, compared with <see cref="HashingOptions.SecretMemory"/>.
/// </summary>
internal enum Recognition
{
    /// <summary>The cache does not have the secret.</summary>
    None,

    /// <summary>At least twice SecretMemory ago: hash it again.</summary>
    Old,

    /// <summary>
    /// Between once and twice SecretMemory ago: hash it again, but accept it if hashing is overloaded.
    /// </summary>
    Recent,

    /// <summary>Less than SecretMemory ago: accept it without hashing.</summary>
    Current,
}

/// <summary>
/// A cache of verified secrets, so that the next request with the same secret costs a microsecond. The cache keeps no
/// secret, but an HMAC-SHA-256, under a key made at start, over the row's id, its digest and the secret. A row whose
/// digest changes therefore no longer matches. The cache does not know whether the row is still valid: the caller
/// checks that for every request.
/// </summary>
internal sealed class VerifiedSecretCache(IOptions<HashingOptions> options, TimeProvider clock)
{
    private const int DigestLength = (2 * sizeof(int)) + Argon2Digest.SaltLength + Argon2Digest.HashLength;

    // An entry takes about 200 bytes.
    private const int MaxSecrets = 50_000;

    private readonly byte[] key = RandomNumberGenerator.GetBytes(HMACSHA256.HashSizeInBytes);
    private readonly TimeSpan memory = options.Value.SecretMemory;

    // By the id of the secret's row.
    private readonly BoundedMap<string, Entry> entries = new(MaxSecrets);

    /// <summary>How long ago the secret with this MAC was verified as the secret of the row.</summary>
    public Recognition Recognise(ClientSecret row, SecretMac mac)
    {
        if (!entries.TryGetValue(row.Id, out var entry) || !entry.Mac.Matches(mac))
            return Recognition.None;
        var age = clock.GetElapsedTime(entry.VerifiedAt);
        if (age < memory)
            return Recognition.Current;
        return age < 2 * memory ? Recognition.Recent : Recognition.Old;
    }

    /// <summary>Adds a secret that hashing has just verified.</summary>
    public void Add(ClientSecret row, SecretMac mac)
    {
        if (memory > TimeSpan.Zero)
            entries.Set(row.Id, new Entry(mac, clock.GetTimestamp()));
    }

    /// <param name="row">The row for which the secret is presented.</param>
    /// <param name="presented">The secret, at most <see cref="ClientSecret.MaxLength"/> bytes of UTF-8.</param>
    public SecretMac MacOf(ClientSecret row, string presented)
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
            return Mac(message[..length]);
        }
        finally
        {
            CryptographicOperations.ZeroMemory(message);
        }
    }

    /// <summary>One MAC over several MACs; their order matters.</summary>
    public SecretMac MacOf(ReadOnlySpan<SecretMac> macs) => Mac(MemoryMarshal.AsBytes(macs));

    private SecretMac Mac(ReadOnlySpan<byte> message)
    {
        Span<byte> mac = stackalloc byte[HMACSHA256.HashSizeInBytes];
        HMACSHA256.HashData(key, message, mac);
        return MemoryMarshal.Read<SecretMac>(mac);
    }

    /// <param name="VerifiedAt">A timestamp of the clock.</param>
    private sealed record Entry(SecretMac Mac, long VerifiedAt);
}
