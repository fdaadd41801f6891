using System.Security.Cryptography;
using System.Text;
using TokenService.Configuration;

namespace TokenService.Secrets;

/// <summary>
/// Makes and verifies digests of secrets on the caller's thread, which takes tens of milliseconds. Commands call it
/// directly; requests go through <see cref="HashingQueue"/>.
/// </summary>
internal static class SecretHasher
{
    /// <summary>
    /// Loads the Argon2id library and checks it against a known answer. Call it before the other methods.
    /// </summary>
    /// <exception cref="OperatorException">The library is missing, computes wrong digests, or lacks memory.</exception>
    public static void Start()
    {
        Argon2id.Initialise();

        // The answer of the reference implementation. A library that computes another one would refuse right secrets or
        // accept wrong ones.
        var expected = Convert.FromHexString("2b5dc4054886ec957ef59c73b661c54dd6fb274590b278f657c6d96aac8fa6d1");
        Span<byte> hash = stackalloc byte[Argon2Digest.HashLength];
        if (!Argon2id.TryDerive("password"u8, "somesaltsomesalt"u8, memoryKiB: 19456, iterations: 2, hash))
            throw new OperatorException("There is not enough memory for one Argon2id computation of 19 MiB.");
        if (!hash.SequenceEqual(expected))
        {
            throw new OperatorException(
                "The Argon2id library on this machine computes wrong digests. Use another version of it.");
        }
    }

    /// <summary>The digest of a secret with a new salt; null: there is not enough memory.</summary>
    public static Argon2Digest? Hash(string secret, Argon2Cost cost)
    {
        var salt = RandomNumberGenerator.GetBytes(Argon2Digest.SaltLength);
        var hash = new byte[Argon2Digest.HashLength];
        return TryDerive(secret, salt, cost, hash) ? new Argon2Digest(cost, salt, hash) : null;
    }

    /// <summary>True when the secret has this digest; null: there is not enough memory to compute it.</summary>
    public static bool? Matches(string secret, Argon2Digest digest)
    {
        Span<byte> hash = stackalloc byte[Argon2Digest.HashLength];
        if (!TryDerive(secret, digest.Salt, digest.Cost, hash))
            return null;
        return CryptographicOperations.FixedTimeEquals(hash, digest.Hash);
    }

    private static bool TryDerive(string secret, ReadOnlySpan<byte> salt, Argon2Cost cost, Span<byte> hash)
    {
        var password = Encoding.UTF8.GetBytes(secret);
        try
        {
            return Argon2id.TryDerive(password, salt, cost.MemoryKiB, cost.Iterations, hash);
        }
        finally
        {
            CryptographicOperations.ZeroMemory(password);
        }
    }
}
