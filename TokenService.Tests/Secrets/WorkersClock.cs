using System.Collections.Concurrent;

namespace TokenService.Tests.Secrets;

/// <summary>
/// Shows a later time to hashing threads than to all other threads. A hashing thread reads the clock once before each
/// secret, so the clock also records which threads hashed, and how often.
/// </summary>
internal sealed class WorkersClock(TimeSpan waited = default) : TimeProvider
{
    public ConcurrentQueue<Thread> Workers { get; } = new();

    public override long TimestampFrequency => TimeSpan.TicksPerSecond;

    public override long GetTimestamp()
    {
        if (Thread.CurrentThread.Name?.StartsWith("Argon2id ", StringComparison.Ordinal) is not true)
            return 0;
        Workers.Enqueue(Thread.CurrentThread);
        return waited.Ticks;
    }
}
