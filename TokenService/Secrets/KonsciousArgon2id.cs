using System.Security.Cryptography;
using KonsciousHash = Konscious.Security.Cryptography.Argon2id;

namespace TokenService.Secrets;

/// <summary>
/// Argon2id by the managed package Konscious.Security.Cryptography.Argon2. It computes in tasks of the thread pool, for
/// which the caller's thread waits, and each hash leaves an array of m to the garbage collector.
/// </summary>
internal sealed class KonsciousArgon2id : IArgon2id
{
    // While several threads hash, the collector would let more than a dozen of these arrays pile up. Collected after
    // each 64 MiB, they take at most the memory of one more hashing thread.
    private const long MaxGarbageKiB = Argon2Cost.MaxMemoryKiB;

    private static long garbageKiB;

    /// <summary>
    /// Gives the thread pool as many threads more as hash at once. With only as many as cores, requests would wait until
    /// a hash ends: on one core, one in a hundred waited 270 ms.
    /// </summary>
    public static void ReserveThreads(int count)
    {
        ThreadPool.GetMinThreads(out var workers, out var ports);
        ThreadPool.SetMinThreads(Math.Max(workers, Environment.ProcessorCount + count), ports);
    }

    public bool TryDerive(ReadOnlySpan<byte> password, ReadOnlySpan<byte> salt, Argon2Cost cost, Span<byte> hash)
    {
        var copy = password.ToArray();
        try
        {
            using var argon2 = new KonsciousHash(copy)
            {
                Salt = salt.ToArray(),
                MemorySize = cost.MemoryKiB,
                Iterations = cost.Iterations,
                DegreeOfParallelism = 1,
            };
            argon2.GetBytes(hash.Length).CopyTo(hash);
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

        CollectGarbage(cost.MemoryKiB);
        return true;
    }

    private static void CollectGarbage(int sizeKiB)
    {
        if (Interlocked.Add(ref garbageKiB, sizeKiB) < MaxGarbageKiB)
            return;
        Interlocked.Exchange(ref garbageKiB, 0);
        GC.Collect(GC.MaxGeneration, GCCollectionMode.Forced, blocking: true, compacting: false);
    }
}
