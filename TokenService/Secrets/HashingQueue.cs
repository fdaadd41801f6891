using System.Collections.Concurrent;
using Microsoft.Extensions.Options;
using TokenService.Protocol;

namespace TokenService.Secrets;

/// <summary>
/// Verifies secrets on a few threads of its own behind a bounded queue, so that no flood takes more memory than the threads
/// have, nor a thread from the pool that serves requests.
/// </summary>
internal sealed class HashingQueue : IDisposable
{
    // A queue that was full drains in about this time.
    private static readonly TimeSpan RetryAfter = TimeSpan.FromSeconds(1);

    // Of the two, the first is emptied before the second.
    private readonly BlockingCollection<Job>[] queues;
    private readonly Thread[] threads;
    private readonly TimeProvider clock;
    private readonly TimeSpan queueTime;

    public HashingQueue(IOptions<HashingOptions> options, TimeProvider clock)
        : this(options.Value, options.Value.Threads(Environment.ProcessorCount), clock)
    {
    }

    /// <param name="options">The bounds of the queue.</param>
    /// <param name="threadCount">W.</param>
    /// <param name="clock">Times the wait in the queue.</param>
    public HashingQueue(HashingOptions options, int threadCount, TimeProvider clock)
    {
        this.clock = clock;
        queueTime = options.QueueTime;
        queues = [new BlockingCollection<Job>(options.QueueLength), new BlockingCollection<Job>(options.QueueLength)];
        threads = [.. Enumerable.Range(1, threadCount).Select(n => new Thread(Work) { Name = $"Argon2id {n}", IsBackground = true })];
        foreach (var thread in threads)
            thread.Start();
    }

    /// <summary>Whether a secret has this digest. Refused with 503 when the queue is full, the wait too long or memory short.</summary>
    /// <param name="secret">The secret.</param>
    /// <param name="digest">What it may have.</param>
    /// <param name="namesRow">True: it names the row of the digest, so is more than a guess, and is hashed before those that do not.</param>
    public Task<Result<bool>> MatchesAsync(string secret, Argon2Digest digest, bool namesRow)
    {
        var job = new Job(secret, digest, clock.GetTimestamp());
        return queues[namesRow ? 0 : 1].TryAdd(job, millisecondsTimeout: 0, CancellationToken.None)
            ? job.Answer.Task
            : Task.FromResult(Busy(Reason.HashingQueueFull));
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

    private void Work()
    {
        while (BlockingCollection<Job>.TryTakeFromAny(queues, out var job, Timeout.Infinite) >= 0)
        {
            try
            {
                Work(job!);
            }
            catch (Exception e)
            {
                job!.Answer.TrySetException(e);
            }
        }
    }

    private void Work(Job job)
    {
        if (clock.GetElapsedTime(job.QueuedAt) > queueTime)
            job.Answer.TrySetResult(Busy(Reason.HashingTooLate));
        else if (SecretHasher.Matches(job.Secret, job.Digest) is { } matches)
            job.Answer.TrySetResult(matches);
        else
            job.Answer.TrySetResult(Busy(Reason.HashingWithoutMemory));
    }

    private static Result<bool> Busy(string reason) => OAuthError.TemporarilyUnavailable(reason, RetryAfter);

    private sealed class Job(string secret, Argon2Digest digest, long queuedAt)
    {
        public string Secret { get; } = secret;
        public Argon2Digest Digest { get; } = digest;
        public long QueuedAt { get; } = queuedAt;

        // Continuations run on the pool: the thread that hashes goes on to the next.
        public TaskCompletionSource<Result<bool>> Answer { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
    }
}
