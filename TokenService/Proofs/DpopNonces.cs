using System.Buffers.Binary;
using System.Buffers.Text;
using System.Security.Cryptography;
using TokenService.Jose;
using TokenService.Keys;

namespace TokenService.Proofs;

/// <summary>
/// Nonces for DPoP proofs (RFC 9449 §8): a minute, and a MAC of it under a key that follows from the sealing key. So every
/// replica accepts the nonces of every other one, without memory and without the database, and also those that were made
/// under another configured sealing key.
/// </summary>
internal sealed class DpopNonces(SealingKeys sealingKeys, TimeProvider clock)
{
    private const int MinuteLength = 4;
    private const int MacLength = 16;

    // A nonce is given out for a minute, and good for two to three minutes from its beginning. The minute that comes is
    // for a replica whose clock is ahead.
    private const long MinutesBack = 2;
    private const long MinutesAhead = 1;

    /// <summary>How long a nonce is good at most, by the clock of one replica.</summary>
    public static readonly TimeSpan Lifetime = TimeSpan.FromMinutes(MinutesBack + 1 + MinutesAhead);

    // The nonces of an API have another purpose, so that this server refuses them.
    private static readonly byte[] Purpose = "TokenService dpop nonce, authorization server"u8.ToArray();

    // Derived at the first use, because most servers demand no nonce.
    private readonly Lazy<DerivedKeys> keys = new(() => sealingKeys.Derive(Purpose));

    private volatile Made? last;

    /// <summary>The nonce to give out now: 27 characters of base64url.</summary>
    public string Current()
    {
        var minute = Minute();
        if (last is { } made && made.Minute == minute)
            return made.Nonce;
        Span<byte> nonce = stackalloc byte[MinuteLength + MacLength];
        Write(keys.Value.Current, minute, nonce);
        var text = Base64Url.EncodeToString(nonce);
        last = new Made(minute, text);
        return text;
    }

    /// <summary>True for a nonce that this server, or another replica, gave out in the last minutes.</summary>
    public bool IsFresh(string nonce)
    {
        if (!CanonicalBase64Url.TryDecode(nonce, out var bytes) || bytes.Length != MinuteLength + MacLength)
            return false;
        long minute = BinaryPrimitives.ReadUInt32BigEndian(bytes);
        if (minute < Minute() - MinutesBack || minute > Minute() + MinutesAhead)
            return false;

        Span<byte> expected = stackalloc byte[MinuteLength + MacLength];
        var isOurs = false;
        foreach (var key in keys.Value.All)
        {
            Write(key, minute, expected);
            isOurs |= CryptographicOperations.FixedTimeEquals(expected, bytes);
        }

        return isOurs;
    }

    private static void Write(byte[] key, long minute, Span<byte> nonce)
    {
        BinaryPrimitives.WriteUInt32BigEndian(nonce, (uint)minute);
        Span<byte> mac = stackalloc byte[HMACSHA256.HashSizeInBytes];
        HMACSHA256.HashData(key, nonce[..MinuteLength], mac);
        mac[..MacLength].CopyTo(nonce[MinuteLength..]);
    }

    private long Minute() => clock.GetUtcNow().ToUnixTimeSeconds() / 60;

    private sealed record Made(long Minute, string Nonce);
}
