using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;
using Microsoft.Extensions.Options;

namespace TokenService.Secrets;

/// <summary>HMAC-SHA-256 of a presented secret and the row it should be the secret of; 32 bytes.</summary>
internal readonly record struct SecretMac(UInt128 First, UInt128 Second)
{
    public bool Matches(SecretMac other) => CryptographicOperations.FixedTimeEquals(
        MemoryMarshal.AsBytes(new ReadOnlySpan<SecretMac>(in this)), MemoryMarshal.AsBytes(new ReadOnlySpan<SecretMac>(in other)));

    /// <summary>One for several, whatever their order.</summary>
    public static SecretMac operator ^(SecretMac a, SecretMac b) => new(a.First ^ b.First, a.Second ^ b.Second);
}

/// <summary>
/// Secrets that have proved right, so that the next request is a microsecond's work. Each is remembered as HMAC-SHA-256 under a key made
/// at start, over the id and digest of its row and the secret itself: a row that changes makes it another secret. Whether the row
/// is alive is not this class's question: it is asked before, at every request.
/// </summary>
internal sealed class VerifiedSecretCache(IOptions<HashingOptions> options, TimeProvider clock)
{
    private const int DigestLength = (2 * sizeof(int)) + Argon2Digest.SaltLength + Argon2Digest.HashLength;

    // About 200 bytes each.
    private const int MaxSecrets = 50_000;

    private readonly byte[] key = RandomNumberGenerator.GetBytes(HMACSHA256.HashSizeInBytes);
    private readonly TimeSpan memory = options.Value.SecretMemory;

    // By the secret's id.
    private readonly ConcurrentDictionary<string, Remembered> remembered = new(StringComparer.Ordinal);

    /// <summary>True when this secret has proved to be that of the row, lately.</summary>
    public bool Knows(ClientSecret row, SecretMac mac) => AgeOf(row, mac) < memory;

    /// <summary>True when it has, not lately, but not long ago either.</summary>
    public bool KnewLately(ClientSecret row, SecretMac mac) => AgeOf(row, mac) < 2 * memory;

    /// <summary>True when it once has, however long ago.</summary>
    public bool Knew(ClientSecret row, SecretMac mac) => AgeOf(row, mac) is not null;

    /// <summary>Remembers a secret that has just proved right.</summary>
    public void Remember(ClientSecret row, SecretMac mac)
    {
        if (memory <= TimeSpan.Zero)
            return;

        remembered[row.Id] = new Remembered(mac, clock.GetTimestamp());
        // Any will do: who comes back is hashed once more.
        if (remembered.Count > MaxSecrets)
        {
            foreach (var other in remembered.Take(MaxSecrets / 8))
                remembered.TryRemove(other);
        }
    }

    /// <param name="row">The row it should be the secret of.</param>
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

            Span<byte> mac = stackalloc byte[HMACSHA256.HashSizeInBytes];
            HMACSHA256.HashData(key, message[..length], mac);
            return MemoryMarshal.Read<SecretMac>(mac);
        }
        finally
        {
            CryptographicOperations.ZeroMemory(message);
        }
    }

    private TimeSpan? AgeOf(ClientSecret row, SecretMac mac) =>
        remembered.TryGetValue(row.Id, out var last) && last.Mac.Matches(mac) ? clock.GetElapsedTime(last.At) : null;

    /// <param name="Mac">Of the secret.</param>
    /// <param name="At">When it proved right.</param>
    private sealed record Remembered(SecretMac Mac, long At);
}
