using TokenService.Secrets;

namespace TokenService.Tests.Harness;

/// <summary>
/// Counts the secrets that the one hashing thread hashes, and blocks that thread when a test closes the gate: the
/// thread reads the clock once for each secret it is about to hash, and this is its clock. Open the gate before the
/// server stops, because the server waits for the thread.
/// </summary>
internal sealed class HashingGate : TimeProvider, IDisposable
{
    private readonly ManualResetEventSlim isOpen = new(initialState: true);
    private int count;

    /// <summary>How many secrets were hashed, or are about to be.</summary>
    public int Count => Volatile.Read(ref count);

    public override long TimestampFrequency => TimeSpan.TicksPerSecond;

    public HashingQueue NewThreads(int queueLength = 64) =>
        new(Run.Hasher, new HashingOptions { QueueLength = queueLength }, threadCount: 1, this);

    public void Close() => isOpen.Reset();

    public void Open() => isOpen.Set();

    /// <summary>Waits until a secret is about to be hashed, and is blocked.</summary>
    /// <param name="number">How many secrets were then hashed, or are about to be.</param>
    public Task HoldsAsync(int number = 1) => Soon.IsAsync("a secret is about to be hashed", () => Count >= number);

    public override long GetTimestamp()
    {
        if (Thread.CurrentThread.Name?.StartsWith("Argon2id ", StringComparison.Ordinal) is not true)
            return 0;
        Interlocked.Increment(ref count);
        isOpen.Wait();
        return 0;
    }

    public void Dispose() => isOpen.Dispose();
}
