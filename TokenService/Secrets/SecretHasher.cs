using System.Security.Cryptography;
using System.Text;
using TokenService.Configuration;

namespace TokenService.Secrets;

/// <summary>
/// Makes and verifies digests of secrets on the caller's thread, which takes tens of milliseconds. Commands call it
/// directly; requests go through <see cref="HashingQueue"/>. <see cref="Start(HashingLibrary, ILogger)"/> chooses the
/// implementation of Argon2id.
/// </summary>
internal sealed partial class SecretHasher
{
    private readonly IArgon2id argon2id;

    private SecretHasher(IArgon2id argon2id) => this.argon2id = argon2id;

    /// <summary>Chooses an implementation of Argon2id, checks it against a known answer, and logs which it is.</summary>
    /// <exception cref="OperatorException">
    /// The library that the setting names is missing, computes wrong digests, or lacks memory.
    /// </exception>
    public static SecretHasher Start(HashingLibrary library, ILogger log) => Start(library, LibsodiumArgon2id.Load, log);

    /// <param name="library">The setting.</param>
    /// <param name="loadLibsodium">Loads libsodium, or throws an <see cref="OperatorException"/>.</param>
    /// <param name="log">Receives which implementation was chosen, and why.</param>
    public static SecretHasher Start(HashingLibrary library, Func<IArgon2id> loadLibsodium, ILogger log)
    {
        var hasher = library switch
        {
            HashingLibrary.Auto => StartAny(loadLibsodium, log),
            HashingLibrary.Libsodium => StartLibsodium(loadLibsodium),
            HashingLibrary.Konscious => Checked(new KonsciousArgon2id()),
            _ => throw new ArgumentOutOfRangeException(nameof(library)),
        };
        if (hasher.argon2id is not KonsciousArgon2id)
            Log.Libsodium(log);
        else if (library == HashingLibrary.Konscious)
            Log.Konscious(log);
        return hasher;
    }

    /// <summary>Prepares for threads that hash while the thread pool serves requests.</summary>
    public void PrepareFor(int threads)
    {
        if (argon2id is KonsciousArgon2id)
            KonsciousArgon2id.ReserveThreads(threads);
    }

    /// <summary>The digest of a secret with a new salt; null: there is not enough memory.</summary>
    public Argon2Digest? Hash(string secret, Argon2Cost cost)
    {
        var salt = RandomNumberGenerator.GetBytes(Argon2Digest.SaltLength);
        var hash = new byte[Argon2Digest.HashLength];
        return TryDerive(secret, salt, cost, hash) ? new Argon2Digest(cost, salt, hash) : null;
    }

    /// <summary>True when the secret has this digest; null: there is not enough memory to compute it.</summary>
    public bool? Matches(string secret, Argon2Digest digest)
    {
        // The empty secret is no client's. The package Konscious refuses to hash it.
        if (secret.Length == 0)
            return false;
        Span<byte> hash = stackalloc byte[Argon2Digest.HashLength];
        if (!TryDerive(secret, digest.Salt, digest.Cost, hash))
            return null;
        return CryptographicOperations.FixedTimeEquals(hash, digest.Hash);
    }

    private static SecretHasher StartLibsodium(Func<IArgon2id> load)
    {
        try
        {
            return Checked(load());
        }
        catch (OperatorException e)
        {
            throw new OperatorException($"{e.Message} Or set Hashing:Library=Auto, which then uses the package Konscious.", e);
        }
    }

    private static SecretHasher StartAny(Func<IArgon2id> loadLibsodium, ILogger log)
    {
        string problem;
        try
        {
            return Checked(loadLibsodium());
        }
        catch (OperatorException e)
        {
            problem = e.Message;
        }

        var hasher = Checked(new KonsciousArgon2id());
        Log.KonsciousInstead(log, problem);
        return hasher;
    }

    private static SecretHasher Checked(IArgon2id argon2id)
    {
        // The answer of the reference implementation. A library that computes another one would refuse right secrets or
        // accept wrong ones.
        var expected = Convert.FromHexString("2b5dc4054886ec957ef59c73b661c54dd6fb274590b278f657c6d96aac8fa6d1");
        Span<byte> hash = stackalloc byte[Argon2Digest.HashLength];
        if (!argon2id.TryDerive("password"u8, "somesaltsomesalt"u8, new Argon2Cost(MemoryKiB: 19456, Iterations: 2), hash))
            throw new OperatorException("There is not enough memory for one Argon2id computation of 19 MiB.");
        if (!hash.SequenceEqual(expected))
        {
            throw new OperatorException(argon2id is KonsciousArgon2id
                ? "The package Konscious computes wrong digests on this machine. Install libsodium."
                : "The libsodium on this machine computes wrong digests. Install another version of it.");
        }

        return new SecretHasher(argon2id);
    }

    private bool TryDerive(string secret, ReadOnlySpan<byte> salt, Argon2Cost cost, Span<byte> hash)
    {
        ArgumentException.ThrowIfNullOrEmpty(secret);
        var password = Encoding.UTF8.GetBytes(secret);
        try
        {
            return argon2id.TryDerive(password, salt, cost, hash);
        }
        finally
        {
            CryptographicOperations.ZeroMemory(password);
        }
    }

    private static partial class Log
    {
        [LoggerMessage(1, LogLevel.Information, "Secrets are hashed by libsodium")]
        public static partial void Libsodium(ILogger logger);

        [LoggerMessage(2, LogLevel.Information, "Secrets are hashed by the package Konscious, because Hashing:Library says so")]
        public static partial void Konscious(ILogger logger);

        [LoggerMessage(3, LogLevel.Information,
            "Secrets are hashed by the package Konscious: {Problem} With libsodium, the first use of a secret would take about "
            + "19 ms of processor time instead of 56, and would not leave 20 MB of garbage. Restart the server after installing it")]
        public static partial void KonsciousInstead(ILogger logger, string problem);
    }
}
