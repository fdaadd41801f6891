using System.Reflection;
using System.Runtime.InteropServices;
using TokenService.Configuration;

namespace TokenService.Secrets;

/// <summary>Argon2id 1.3 (RFC 9106) with one lane, by the system's libsodium.</summary>
internal static partial class Argon2id
{
    private const string Library = "sodium";
    private const int AlgorithmArgon2id13 = 2; // crypto_pwhash_ALG_ARGON2ID13

    // libsodium promises a stable ABI for these calls; 26 and 23 are the versions distributions ship now.
    private static readonly string[] FileNames =
    [
        "libsodium.so.26", "libsodium.so.23", "libsodium.so", "libsodium.dylib",
        "/opt/homebrew/lib/libsodium.dylib", // Homebrew's place on Apple silicon, where no loader looks
        "libsodium",
    ];

    // Here, since an assembly's resolver can be set only once, and Initialise may be called by several hosts in one process.
    static Argon2id() => NativeLibrary.SetDllImportResolver(typeof(Argon2id).Assembly, Resolve);

    /// <summary>Finds the library and lets it choose its fastest code.</summary>
    /// <exception cref="OperatorException">There is no libsodium, or it does not work here.</exception>
    public static void Initialise()
    {
        try
        {
            // Without this call libsodium computes with its scalar code, 40 % slower. 1 says it was called before.
            if (sodium_init() < 0)
                throw new OperatorException("libsodium does not initialise on this machine.");
        }
        catch (DllNotFoundException e)
        {
            throw new OperatorException(
                "libsodium is not installed. Debian: apt-get install libsodium23; Alpine: apk add libsodium; Red Hat: dnf install libsodium; "
                + "macOS: brew install libsodium. Or build with -p:Argon2=Konscious.", e);
        }
    }

    /// <summary>False when there is no memory for it.</summary>
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
