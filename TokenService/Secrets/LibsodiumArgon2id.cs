using System.Runtime.InteropServices;
using TokenService.Configuration;

namespace TokenService.Secrets;

/// <summary>Argon2id by the system's libsodium.</summary>
internal sealed partial class LibsodiumArgon2id : IArgon2id
{
    private const string Library = "sodium";
    private const int AlgorithmArgon2id13 = 2; // crypto_pwhash_ALG_ARGON2ID13

    // libsodium promises a stable ABI for the functions used here; distributions ship versions 26 and 23 now.
    private static readonly string[] FileNames =
    [
        "libsodium.so.26", "libsodium.so.23", "libsodium.so", "libsodium.dylib",
        "/opt/homebrew/lib/libsodium.dylib", // Homebrew's folder on Apple silicon, which the loader does not search
        "libsodium",
    ];

    private static nint loaded;

    // In the static constructor, because an assembly's resolver can be set only once, and several hosts in one process
    // may load the library.
    static LibsodiumArgon2id() => NativeLibrary.SetDllImportResolver(
        typeof(LibsodiumArgon2id).Assembly, (name, _, _) => name == Library ? Volatile.Read(ref loaded) : 0);

    private LibsodiumArgon2id()
    {
    }

    /// <summary>Loads the library and lets it choose the fastest code for this processor.</summary>
    /// <exception cref="OperatorException">libsodium is not installed, or does not initialise.</exception>
    public static LibsodiumArgon2id Load() => Load(FileNames);

    /// <param name="fileNames">The first of these files that is a libsodium is loaded.</param>
    public static LibsodiumArgon2id Load(IEnumerable<string> fileNames)
    {
        var library = fileNames.Select(Open).FirstOrDefault(handle => handle != 0);
        if (library == 0)
        {
            throw new OperatorException(
                "libsodium is not installed. Debian: apt-get install libsodium23; Alpine: apk add libsodium; "
                + "Red Hat: dnf install libsodium; macOS: brew install libsodium.");
        }

        Interlocked.CompareExchange(ref loaded, library, 0);
        // Without this call libsodium uses its scalar code, which is 40 % slower. The result 1 means that it was called
        // before.
        if (sodium_init() < 0)
            throw new OperatorException("libsodium does not initialise on this machine. Install another version of it.");
        return new LibsodiumArgon2id();
    }

    public bool TryDerive(ReadOnlySpan<byte> password, ReadOnlySpan<byte> salt, Argon2Cost cost, Span<byte> hash) =>
        crypto_pwhash(
            hash, (ulong)hash.Length,
            password, (ulong)password.Length,
            salt, (ulong)cost.Iterations, (nuint)cost.MemoryKiB * 1024,
            AlgorithmArgon2id13) == 0;

    // 0: there is no such file, or it lacks the functions used here.
    private static nint Open(string fileName) =>
        NativeLibrary.TryLoad(fileName, typeof(LibsodiumArgon2id).Assembly, searchPath: null, out var handle)
        && NativeLibrary.TryGetExport(handle, nameof(sodium_init), out _)
        && NativeLibrary.TryGetExport(handle, nameof(crypto_pwhash), out _)
            ? handle
            : 0;

    [LibraryImport(Library)]
    private static partial int sodium_init();

    [LibraryImport(Library)]
    private static partial int crypto_pwhash(
        Span<byte> hash, ulong hashLength,
        ReadOnlySpan<byte> password, ulong passwordLength,
        ReadOnlySpan<byte> salt, ulong opsLimit, nuint memLimit,
        int algorithm);
}
