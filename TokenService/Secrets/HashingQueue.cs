using System.Collections.Concurrent;
using Microsoft.Extensions.Options;
using TokenService.Protocol;

namespace TokenService.Secrets;

/// <summary>
/// Verifies secrets on a few threads of its own, behind two bounded queues. A flood of secrets to hash therefore cannot
/// use more memory than these threads have, and does not occupy the thread pool that serves requests.
/// </summary>
internal sealed class HashingQueue : IDisposable
{
    // A full queue is empty again after about this time.
    private static readonly TimeSpan RetryAfter = TimeSpan.FromSeconds(1);

    // The first queue has priority: a thread takes from the second only while the first is empty.
    private readonly BlockingCollection<Job>[] queues;
    private readonly Thread[] threads;
    private readonly TimeProvider clock;
    private readonly TimeSpan queueTime;

    public HashingQueue(IOptions<HashingOptions> options, TimeProvider clock)
        : this(options.Value, options.Value.Threads(Environment.ProcessorCount), clock)
    {
    }

    /// <param name="options">The bounds of the queues.</param>
    /// <param name="threadCount">How many threads hash.</param>
    /// <param name="clock">Measures the wait in the queue.</param>
    public HashingQueue(HashingOptions options, int threadCount, TimeProvider clock)
    {
        this.clock = clock;
        queueTime = options.QueueTime;
        queues = [new BlockingCollection<Job>(options.QueueLength), new BlockingCollection<Job>(options.QueueLength)];
        threads = [.. Enumerable.Range(1, threadCount)
            .Select(n => new Thread(RunJobs) { Name = $"Argon2id {n}", IsBackground = true })];
        foreach (var thread in threads)
            thread.Start();
    }

    /// <summary>Verifies that a secret has a digest.</summary>
    /// <param name="secret">The presented secret.</param>
    /// <param name="digest">The digest to verify it against.</param>
    /// <param name="namesRow">
    /// True: the secret contains the id of the row with this digest. It is then hashed before secrets that contain no
    /// id, which may be anybody's guesses.
    /// </param>
    /// <returns>Refused with 503 when the queue is full, the wait was too long or there is not enough memory.</returns>
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

        // Continuations run on the thread pool, so that the hashing thread takes its next job at once.
        public TaskCompletionSource<Result<bool>> Answer { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
    }
}
