using System.Collections.Concurrent;

namespace TokenService.Tests.Secrets;

/// <summary>
/// Shows a hashing thread, and only it, a later time than everybody else. A thread looks at the clock once for each secret it is about to
/// hash, so it also sees which threads hashed, and how often.
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
