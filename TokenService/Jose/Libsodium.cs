using System.Runtime.InteropServices;
using TokenService.Configuration;

namespace TokenService.Jose;

/// <summary>
/// The system's libsodium, where it is installed. It verifies Ed25519, which .NET 10 cannot, and hashes secrets.
/// </summary>
internal static partial class Libsodium
{
    /// <summary>The name for <see cref="LibraryImportAttribute"/>. <see cref="Load()"/> comes before the first call.</summary>
    public const string Library = "sodium";

    /// <summary>Bytes of an Ed25519 signature (RFC 8032 §5.1.6).</summary>
    public const int SignatureLength = 64;

    // libsodium promises a stable ABI for the functions used here; distributions ship versions 26 and 23 now.
    private static readonly string[] FileNames =
    [
        "libsodium.so.26", "libsodium.so.23", "libsodium.so", "libsodium.dylib",
        "/opt/homebrew/lib/libsodium.dylib", // Homebrew's folder on Apple silicon, which the loader does not search
        "libsodium",
    ];

    private static readonly Lazy<bool> Available = new(IsLoadable);

    private static nint loaded;

    // In the static constructor, because an assembly's resolver can be set only once, and several hosts in one process
    // may load the library.
    static Libsodium() => NativeLibrary.SetDllImportResolver(
        typeof(Libsodium).Assembly, (name, _, _) => name == Library ? Volatile.Read(ref loaded) : 0);

    /// <summary>True when libsodium is installed. The first call loads it.</summary>
    public static bool IsAvailable => Available.Value;

    /// <summary>Loads the library and lets it choose the fastest code for this processor.</summary>
    /// <exception cref="OperatorException">libsodium is not installed, or does not initialise.</exception>
    public static void Load() => Load(FileNames);

    /// <param name="fileNames">The first of these files that is a libsodium is loaded.</param>
    public static void Load(IEnumerable<string> fileNames)
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
    }

    /// <summary>
    /// Verifies an Ed25519 signature (RFC 8032 §5.1.7). libsodium refuses a public key or an R of small order, and an S
    /// that is not canonical.
    /// </summary>
    /// <param name="publicKey">32 bytes.</param>
    public static bool VerifiesEd25519(ReadOnlySpan<byte> data, ReadOnlySpan<byte> signature, ReadOnlySpan<byte> publicKey) =>
        signature.Length == SignatureLength
        && crypto_sign_verify_detached(signature, data, (ulong)data.Length, publicKey) == 0;

    private static bool IsLoadable()
    {
        try
        {
            Load();
            return true;
        }
        catch (OperatorException)
        {
            return false;
        }
    }

    // 0: there is no such file, or it lacks the functions used here.
    private static nint Open(string fileName) =>
        NativeLibrary.TryLoad(fileName, typeof(Libsodium).Assembly, searchPath: null, out var handle)
        && NativeLibrary.TryGetExport(handle, nameof(sodium_init), out _)
        && NativeLibrary.TryGetExport(handle, "crypto_pwhash", out _)
        && NativeLibrary.TryGetExport(handle, nameof(crypto_sign_verify_detached), out _)
            ? handle
            : 0;

    [LibraryImport(Library)]
    private static partial int sodium_init();

    [LibraryImport(Library)]
    private static partial int crypto_sign_verify_detached(
        ReadOnlySpan<byte> signature, ReadOnlySpan<byte> data, ulong dataLength, ReadOnlySpan<byte> publicKey);
}
