using System.Buffers.Binary;
using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;
using Microsoft.AspNetCore.Authentication.JwtBearer;
using Microsoft.Extensions.Options;

namespace Examples;

/// <summary>
/// Remembers the DPoP proofs that this process has accepted, so that each is accepted once (RFC 9449 §11.1). It forgets
/// a proof when its time alone would refuse it. Another replica of the API does not know of it: a thief who has token
/// and proof can use them once at each replica within a minute. A nonce does not change this.
/// </summary>
public sealed partial class ProofMemory(IOptions<DpopOptions> options, TimeProvider clock, ILogger<ProofMemory> logger)
{
    // A proof is accepted from 30 seconds before its iat until 60 seconds after it, and with a nonce while the nonce is
    // good. Proofs are remembered for this long at least, and for twice as long at most.
    private readonly TimeSpan span = options.Value.NonceKey is null ? TimeSpan.FromSeconds(90) : DpopNonces.Lifetime;

    private readonly Lock gate = new();
    private HashSet<UInt128> older = [];
    private HashSet<UInt128> newer = [];
    private DateTimeOffset turned = clock.GetUtcNow();

    /// <summary>True the first time a key's proof with this jti is seen.</summary>
    /// <param name="thumbprint">The thumbprint of the key. Two keys may use the same jti.</param>
    /// <param name="id">The jti.</param>
    public bool IsFirst(string thumbprint, string id)
    {
        // A hash, so that a long jti takes no more memory than a short one. A thumbprint always has 43 characters.
        var hash = BinaryPrimitives.ReadUInt128BigEndian(SHA256.HashData(Encoding.UTF8.GetBytes(thumbprint + id)));
        lock (gate)
        {
            Turn(clock.GetUtcNow());
            return !older.Contains(hash) && newer.Add(hash);
        }
    }

    // Once the memory is full, the older half is forgotten early. Refusing instead would let one caller stop all
    // others.
    private void Turn(DateTimeOffset now)
    {
        var isFull = newer.Count >= options.Value.MaxRememberedProofs / 2;
        if (!isFull && now - turned < span)
            return;
        if (isFull && now - turned < span)
            LogFull((now - turned).TotalSeconds);
        (older, newer) = (now - turned < 2 * span ? newer : [], []);
        turned = now;
    }

    [LoggerMessage(LogLevel.Warning, "The memory of DPoP proofs was full after {Seconds:F0} seconds, so older proofs could be used again. "
        + "Callers notice nothing. Raise Dpop:MaxRememberedProofs.")]
    private partial void LogFull(double seconds);
}

/// <summary>
/// Nonces (RFC 9449 §9) that need no memory: the minute, and a MAC of it under a key that all replicas of the API have.
/// </summary>
public sealed class DpopNonces(IOptions<DpopOptions> options, IOptionsMonitor<JwtBearerOptions> bearer, TimeProvider clock)
{
    /// <summary>
    /// The longest time for which a proof with a nonce can be accepted: a nonce of the next minute has four left.
    /// </summary>
    internal static readonly TimeSpan Lifetime = TimeSpan.FromMinutes(4);

    private const int MinuteLength = 8;
    private const int MacLength = 16;

    // The label keeps this API's nonces apart from those of the authorization server and of other APIs, even where
    // somebody gave them the same key.
    private readonly byte[]? key = options.Value.NonceKey is { } secret
        ? HKDF.DeriveKey(
            HashAlgorithmName.SHA256, Convert.FromBase64String(secret), outputLength: 32,
            info: Encoding.UTF8.GetBytes($"dpop nonce, api {bearer.Get(JwtBearerDefaults.AuthenticationScheme).Audience}"))
        : null;

    /// <summary>
    /// True: a proof without a good nonce is refused. RFC 9449 §11.3: there is nothing between yes and no.
    /// </summary>
    public bool AreRequired => key is not null;

    private long Minute => clock.GetUtcNow().ToUnixTimeSeconds() / 60;

    /// <summary>The nonce of this minute.</summary>
    public string Current() => Make(Minute);

    /// <summary>
    /// True for a nonce that was made up to two minutes ago, or by a replica whose clock is up to a minute ahead.
    /// </summary>
    public bool IsGood(string? nonce)
    {
        if (nonce is null || !DpopProof.TryDecode(nonce, out var bytes) || bytes.Length != MinuteLength + MacLength)
            return false;
        var (minute, now) = (BinaryPrimitives.ReadInt64BigEndian(bytes), Minute);
        return minute >= now - 2 && minute <= now + 1
            && CryptographicOperations.FixedTimeEquals(Encoding.ASCII.GetBytes(nonce), Encoding.ASCII.GetBytes(Make(minute)));
    }

    private string Make(long minute)
    {
        Span<byte> bytes = stackalloc byte[MinuteLength + HMACSHA256.HashSizeInBytes];
        BinaryPrimitives.WriteInt64BigEndian(bytes, minute);
        HMACSHA256.HashData(key!, bytes[..MinuteLength], bytes[MinuteLength..]);
        return Base64Url.EncodeToString(bytes[..(MinuteLength + MacLength)]);
    }
}
