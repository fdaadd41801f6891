using System.Collections.Concurrent;
using Microsoft.Extensions.Options;
using TokenService.Clients;
using TokenService.Protocol;

namespace TokenService.Limits;

/// <summary>
/// Verifies secrets on a few threads of its own behind a bounded queue, so that no flood takes more memory than the threads
/// have, nor a thread from the pool that serves requests.
/// </summary>
internal sealed class HashingThreads : IDisposable
{
    // A queue that was full drains in about this time.
    private static readonly TimeSpan RetryAfter = TimeSpan.FromSeconds(1);

    private readonly BlockingCollection<Job> queue;
    private readonly Thread[] threads;
    private readonly TimeProvider clock;
    private readonly TimeSpan queueTime;

    public HashingThreads(IOptions<HashingOptions> options, TimeProvider clock)
        : this(options.Value, options.Value.Threads(Environment.ProcessorCount), clock)
    {
    }

    /// <param name="options">The bounds of the queue.</param>
    /// <param name="threadCount">W.</param>
    /// <param name="clock">Times the wait in the queue.</param>
    public HashingThreads(HashingOptions options, int threadCount, TimeProvider clock)
    {
        this.clock = clock;
        queueTime = options.QueueTime;
        queue = new BlockingCollection<Job>(options.QueueLength);
        threads = [.. Enumerable.Range(1, threadCount).Select(n => new Thread(Work) { Name = $"Argon2id {n}", IsBackground = true })];
        foreach (var thread in threads)
            thread.Start();
    }

    /// <summary>Whether a secret has this digest. Refused with 503 when the queue is full, the wait too long or memory short.</summary>
    public Task<Result<bool>> MatchesAsync(string secret, SecretDigest digest, CancellationToken ct)
    {
        var job = new Job(secret, digest, clock.GetTimestamp(), ct);
        return queue.TryAdd(job, millisecondsTimeout: 0, CancellationToken.None)
            ? job.Answer.Task
            : Task.FromResult(Busy("the hashing queue is full"));
    }

    public void Dispose()
    {
        queue.CompleteAdding();
        foreach (var thread in threads)
            thread.Join();
        queue.Dispose();
    }

    private void Work()
    {
        foreach (var job in queue.GetConsumingEnumerable())
        {
            try
            {
                Work(job);
            }
            catch (Exception e)
            {
                job.Answer.TrySetException(e);
            }
        }
    }

    private void Work(Job job)
    {
        if (job.Caller.IsCancellationRequested)
            job.Answer.TrySetCanceled(job.Caller);
        else if (clock.GetElapsedTime(job.QueuedAt) > queueTime)
            job.Answer.TrySetResult(Busy("the secret waited too long to be hashed"));
        else if (SecretHasher.Matches(job.Secret, job.Digest) is { } matches)
            job.Answer.TrySetResult(matches);
        else
            job.Answer.TrySetResult(Busy("there was no memory to hash a secret"));
    }

    private static Result<bool> Busy(string reason) => OAuthError.TemporarilyUnavailable(reason, RetryAfter);

    private sealed class Job(string secret, SecretDigest digest, long queuedAt, CancellationToken caller)
    {
        public string Secret { get; } = secret;
        public SecretDigest Digest { get; } = digest;
        public long QueuedAt { get; } = queuedAt;
        public CancellationToken Caller { get; } = caller;

        // Continuations run on the pool: the thread that hashes goes on to the next.
        public TaskCompletionSource<Result<bool>> Answer { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
    }
}
