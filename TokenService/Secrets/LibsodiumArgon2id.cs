using System.Runtime.InteropServices;
using TokenService.Configuration;
using TokenService.Jose;

namespace TokenService.Secrets;

/// <summary>Argon2id by the system's libsodium.</summary>
internal sealed partial class LibsodiumArgon2id : IArgon2id
{
    private const int AlgorithmArgon2id13 = 2; // crypto_pwhash_ALG_ARGON2ID13

    private LibsodiumArgon2id()
    {
    }

    /// <exception cref="OperatorException">libsodium is not installed, or does not initialise.</exception>
    public static LibsodiumArgon2id Load()
    {
        Libsodium.Load();
        return new LibsodiumArgon2id();
    }

    /// <param name="fileNames">The first of these files that is a libsodium is loaded.</param>
    public static LibsodiumArgon2id Load(IEnumerable<string> fileNames)
    {
        Libsodium.Load(fileNames);
        return new LibsodiumArgon2id();
    }

    public bool TryDerive(ReadOnlySpan<byte> password, ReadOnlySpan<byte> salt, Argon2Cost cost, Span<byte> hash) =>
        crypto_pwhash(
            hash, (ulong)hash.Length,
            password, (ulong)password.Length,
            salt, (ulong)cost.Iterations, (nuint)cost.MemoryKiB * 1024,
            AlgorithmArgon2id13) == 0;

    [LibraryImport(Libsodium.Library)]
    private static partial int crypto_pwhash(
        Span<byte> hash, ulong hashLength,
        ReadOnlySpan<byte> password, ulong passwordLength,
        ReadOnlySpan<byte> salt, ulong opsLimit, nuint memLimit,
        int algorithm);
}
