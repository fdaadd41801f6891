using System.ComponentModel.DataAnnotations;
using TokenService.Configuration;

namespace TokenService.Secrets;

/// <summary>Which implementation of Argon2id hashes secrets. Both compute the same digests.</summary>
internal enum HashingLibrary
{
    /// <summary>libsodium where it is installed and computes right digests, Konscious elsewhere.</summary>
    Auto,

    /// <summary>The system's libsodium; without it, nothing starts.</summary>
    Libsodium,

    /// <summary>The managed package Konscious, which takes three times the processor time.</summary>
    Konscious,
}

/// <summary>The cost of digests, and the limits of hashing. Section <c>Hashing</c>.</summary>
internal sealed class HashingOptions
{
    public const string Section = "Hashing";

    /// <summary>The library that computes Argon2id. Default Auto.</summary>
    public HashingLibrary Library { get; set; } = HashingLibrary.Auto;

    /// <summary>m of new digests, 8192 to 65536 KiB. Default 19456, the OWASP recommendation for t=2.</summary>
    [Range(Argon2Cost.MinMemoryKiB, Argon2Cost.MaxMemoryKiB, ErrorMessage = "Hashing:MemoryKiB must be 8192 to 65536 (KiB).")]
    public int MemoryKiB { get; set; } = 19456;

    /// <summary>t of new digests, 1 to 10 passes. Default 2.</summary>
    [Range(Argon2Cost.MinIterations, Argon2Cost.MaxIterations, ErrorMessage = "Hashing:Iterations must be 1 to 10 (passes).")]
    public int Iterations { get; set; } = 2;

    /// <summary>
    /// Memory that all hashing threads together may use, 64 to 16384 MiB. Default 256. Each thread counts as 64 MiB,
    /// which is the memory for the most expensive digest that the database accepts.
    /// </summary>
    [Range(64, 16384, ErrorMessage = "Hashing:MemoryBudgetMiB must be 64 to 16384 (MiB).")]
    public int MemoryBudgetMiB { get; set; } = 256;

    /// <summary>
    /// How many secrets may wait in a queue to be hashed, 1 to 10000. Default 512. There are three queues of this
    /// length. Secrets that contain the id of a live secret are hashed first, then secrets from addresses that have not
    /// failed lately, then all others. When a queue is full, the request gets 503.
    /// </summary>
    [Range(1, 10000, ErrorMessage = "Hashing:QueueLength must be 1 to 10000 (waiting secrets).")]
    public int QueueLength { get; set; } = 512;

    /// <summary>
    /// How long a secret may wait to be hashed, 10 ms to 1 minute. Default 10 seconds. A request that would wait longer
    /// gets 503 at once, with a Retry-After for when its turn may come.
    /// </summary>
    [TimeRange("00:00:00.010", "00:01:00", ErrorMessage = "Hashing:QueueTime must be 00:00:00.010 to 00:01:00.")]
    public TimeSpan QueueTime { get; set; } = TimeSpan.FromSeconds(10);

    /// <summary>
    /// How long a verified imported secret is recognised without hashing it again, up to 1 day. Default 15 minutes. A
    /// verified generated secret is recognised for as long as its row is unchanged, also after a restart. 0: the secret
    /// of every request is hashed, and the database keeps no MAC.
    /// </summary>
    [TimeRange("00:00:00", "1.00:00:00", ErrorMessage = "Hashing:SecretMemory must be 00:00:00 to 1.00:00:00.")]
    public TimeSpan SecretMemory { get; set; } = TimeSpan.FromMinutes(15);

    /// <summary>The cost of new digests.</summary>
    public Argon2Cost Cost => new(MemoryKiB, Iterations);

    /// <summary>
    /// The number of hashing threads: as many as the memory budget allows, at most one fewer than cores.
    /// </summary>
    public int Threads(int cores) =>
        Math.Clamp(MemoryBudgetMiB * 1024 / Argon2Cost.MaxMemoryKiB, 1, Math.Max(1, cores - 1));
}
