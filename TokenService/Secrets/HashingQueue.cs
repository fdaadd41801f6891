using System.Collections.Concurrent;
using System.Diagnostics;
using Microsoft.Extensions.Options;
using TokenService.Protocol;

namespace TokenService.Secrets;

/// <summary>Which secrets are hashed first. A thread takes a secret only while no earlier kind waits.</summary>
internal enum HashingPriority
{
    /// <summary>The secret contains the id of a live secret, or was verified before.</summary>
    KnownSecret,

    /// <summary>The secret comes from an address that has not failed lately.</summary>
    SourceWithoutFailures,

    /// <summary>All others: they may be anybody's guesses.</summary>
    Other,
}

/// <summary>
/// Verifies secrets on a few threads of its own, behind bounded queues, one for each priority. A flood of secrets to
/// hash therefore cannot use more memory than these threads have, and does not occupy the thread pool that serves
/// requests.
/// </summary>
internal sealed class HashingQueue : IDisposable
{
    private static readonly TimeSpan MinRetryAfter = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan MaxRetryAfter = TimeSpan.FromMinutes(5);

    // By priority.
    private readonly BlockingCollection<Job>[] queues;
    private readonly Thread[] threads;
    private readonly SecretHasher hasher;
    private readonly TimeProvider clock;
    private readonly TimeSpan queueTime;

    // The mean duration of the last hashes, in ticks of TimeSpan; at first a guess.
    private long meanDuration = TimeSpan.FromMilliseconds(20).Ticks;

    // When the last caller that was refused with a known secret should come back, as a timestamp of Stopwatch.
    private long lastTurn;

    public HashingQueue(SecretHasher hasher, IOptions<HashingOptions> options, TimeProvider clock)
        : this(hasher, options.Value, options.Value.Threads(Environment.ProcessorCount), clock)
    {
    }

    /// <param name="hasher">Hashes on the threads.</param>
    /// <param name="options">The bounds of the queues.</param>
    /// <param name="threadCount">How many threads hash.</param>
    /// <param name="clock">Measures the wait in the queue.</param>
    public HashingQueue(SecretHasher hasher, HashingOptions options, int threadCount, TimeProvider clock)
    {
        this.hasher = hasher;
        hasher.PrepareFor(threadCount);
        this.clock = clock;
        queueTime = options.QueueTime;
        queues = [.. Enum.GetValues<HashingPriority>().Select(_ => new BlockingCollection<Job>(options.QueueLength))];
        threads = [.. Enumerable.Range(1, threadCount)
            .Select(n => new Thread(RunJobs) { Name = $"Argon2id {n}", IsBackground = true })];
        foreach (var thread in threads)
            thread.Start();
    }

    /// <summary>Verifies that a secret has a digest.</summary>
    /// <param name="secret">The presented secret.</param>
    /// <param name="digest">The digest to verify it against.</param>
    /// <param name="priority">Before which other secrets it is hashed.</param>
    /// <returns>
    /// Refused with 503 when the queue is full, the wait would be or was too long, or there is not enough memory.
    /// </returns>
    public Task<Result<bool>> MatchesAsync(string secret, Argon2Digest digest, HashingPriority priority)
    {
        var job = new Job(secret, digest, priority, clock.GetTimestamp());
        return WaitOf(priority) <= queueTime && queues[(int)priority].TryAdd(job, millisecondsTimeout: 0, CancellationToken.None)
            ? job.Answer.Task
            : Task.FromResult(Busy(Reason.HashingQueueFull, priority));
    }

    public void Dispose()
    {
        foreach (var queue in queues)
            queue.CompleteAdding();
        foreach (var thread in threads)
            thread.Join();
        foreach (var queue in queues)
            queue.Dispose();
    }

    private void RunJobs()
    {
        while (BlockingCollection<Job>.TryTakeFromAny(queues, out var job, Timeout.Infinite) >= 0)
        {
            try
            {
                Run(job!);
            }
            catch (Exception e)
            {
                job!.Answer.TrySetException(e);
            }
        }
    }

    private void Run(Job job)
    {
        if (clock.GetElapsedTime(job.QueuedAt) > queueTime)
        {
            job.Answer.TrySetResult(Busy(Reason.HashingTooLate, job.Priority));
            return;
        }

        var began = Stopwatch.GetTimestamp();
        var matches = hasher.Matches(job.Secret, job.Digest);
        AddDuration(Stopwatch.GetElapsedTime(began));
        job.Answer.TrySetResult(matches is { } known ? known : Busy(Reason.HashingWithoutMemory, job.Priority));
    }

    // Several threads may write at once; one of the measurements is lost then, which does no harm.
    private void AddDuration(TimeSpan duration)
    {
        var mean = Volatile.Read(ref meanDuration);
        Volatile.Write(ref meanDuration, mean + ((duration.Ticks - mean) / 8));
    }

    // How long a secret that is queued now will probably wait.
    private TimeSpan WaitOf(HashingPriority priority) => queues.Take((int)priority + 1).Sum(queue => queue.Count) * TimeOfOne;

    private TimeSpan TimeOfOne => TimeSpan.FromTicks(Volatile.Read(ref meanDuration) / Math.Max(1, threads.Length));

    private Result<bool> Busy(string reason, HashingPriority priority)
    {
        var retryAfter = priority == HashingPriority.KnownSecret ? TakeTurn() : WaitOf(priority);
        return OAuthError.TemporarilyUnavailable(
            reason, TimeSpan.FromTicks(Math.Clamp(retryAfter.Ticks, MinRetryAfter.Ticks, MaxRetryAfter.Ticks)));
    }

    // After the first start ever, or when the database keeps no MACs, thousands of clients present right secrets at
    // once. Each is told to come back when those before it have been hashed, so that they do not all come back
    // together.
    private TimeSpan TakeTurn()
    {
        while (true)
        {
            var (now, last) = (Stopwatch.GetTimestamp(), Volatile.Read(ref lastTurn));
            var wait = WaitOf(HashingPriority.KnownSecret);
            if (last > now)
                wait = TimeSpan.FromTicks(Math.Max(wait.Ticks, Stopwatch.GetElapsedTime(now, last).Ticks));
            wait += TimeOfOne;
            if (wait > MaxRetryAfter)
                return MaxRetryAfter;
            var turn = now + (long)(wait.TotalSeconds * Stopwatch.Frequency);
            if (Interlocked.CompareExchange(ref lastTurn, turn, last) == last)
                return wait;
        }
    }

    private sealed class Job(string secret, Argon2Digest digest, HashingPriority priority, long queuedAt)
    {
        public string Secret { get; } = secret;
        public Argon2Digest Digest { get; } = digest;
        public HashingPriority Priority { get; } = priority;
        public long QueuedAt { get; } = queuedAt;

        // Continuations run on the thread pool, so that the hashing thread takes its next job at once.
        public TaskCompletionSource<Result<bool>> Answer { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
    }
}
