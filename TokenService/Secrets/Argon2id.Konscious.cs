using System.Security.Cryptography;
using KonsciousArgon2id = Konscious.Security.Cryptography.Argon2id;

namespace TokenService.Secrets;

/// <summary>
/// Argon2id 1.3 (RFC 9106) with one lane, by the managed package Konscious.Security.Cryptography.Argon2.
/// </summary>
internal static class Argon2id
{
    /// <summary>
    /// Does nothing, because the code is in the package. The build with libsodium looks for the library here.
    /// </summary>
    public static void Initialise()
    {
    }

    /// <summary>Computes the hash. False: there is not enough memory.</summary>
    public static bool TryDerive(
        ReadOnlySpan<byte> password, ReadOnlySpan<byte> salt, int memoryKiB, int iterations, Span<byte> hash)
    {
        var copy = password.ToArray();
        try
        {
            using var argon2 = new KonsciousArgon2id(copy)
            {
                Salt = salt.ToArray(),
                MemorySize = memoryKiB,
                Iterations = iterations,
                DegreeOfParallelism = 1,
            };
            argon2.GetBytes(hash.Length).CopyTo(hash);
            return true;
        }
        // The package computes in tasks, so its exceptions are wrapped in an AggregateException.
        catch (Exception e) when (e.GetBaseException() is OutOfMemoryException)
        {
            return false;
        }
        finally
        {
            CryptographicOperations.ZeroMemory(copy);
        }
    }
}
