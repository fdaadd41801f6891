using System.Reflection;
using System.Runtime.InteropServices;
using TokenService.Configuration;

namespace TokenService.Secrets;

/// <summary>Argon2id 1.3 (RFC 9106) with one lane, by the system's libsodium.</summary>
internal static partial class Argon2id
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

    // In the static constructor, because an assembly's resolver can be set only once, and several hosts in one process
    // may call Initialise.
    static Argon2id() => NativeLibrary.SetDllImportResolver(typeof(Argon2id).Assembly, Resolve);

    /// <summary>Loads the library and lets it choose the fastest code for this processor.</summary>
    /// <exception cref="OperatorException">libsodium is not installed, or does not initialise.</exception>
    public static void Initialise()
    {
        try
        {
            // Without this call libsodium uses its scalar code, which is 40 % slower. The result 1 means that it was
            // called before.
            if (sodium_init() < 0)
            {
                throw new OperatorException(
                    "libsodium does not initialise on this machine. Install another version of it, "
                    + "or build with -p:Argon2=Konscious.");
            }
        }
        catch (DllNotFoundException e)
        {
            throw new OperatorException(
                "libsodium is not installed. Debian: apt-get install libsodium23; Alpine: apk add libsodium; "
                + "Red Hat: dnf install libsodium; macOS: brew install libsodium. Or build with -p:Argon2=Konscious.", e);
        }
    }

    /// <summary>Computes the hash. False: there is not enough memory.</summary>
    public static bool TryDerive(
        ReadOnlySpan<byte> password, ReadOnlySpan<byte> salt, int memoryKiB, int iterations, Span<byte> hash) =>
        crypto_pwhash(
            hash, (ulong)hash.Length,
            password, (ulong)password.Length,
            salt, (ulong)iterations, (nuint)memoryKiB * 1024,
            AlgorithmArgon2id13) == 0;

    private static nint Resolve(string name, Assembly assembly, DllImportSearchPath? path)
    {
        if (name != Library)
            return 0;

        foreach (var fileName in FileNames)
        {
            if (NativeLibrary.TryLoad(fileName, assembly, path, out var handle))
                return handle;
        }

        return 0;
    }

    [LibraryImport(Library)]
    private static partial int sodium_init();

    [LibraryImport(Library)]
    private static partial int crypto_pwhash(
        Span<byte> hash, ulong hashLength,
        ReadOnlySpan<byte> password, ulong passwordLength,
        ReadOnlySpan<byte> salt, ulong opsLimit, nuint memLimit,
        int algorithm);
}
