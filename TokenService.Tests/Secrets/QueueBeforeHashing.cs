using TokenService.Protocol;
using TokenService.Secrets;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Secrets;

/// <summary>Secrets are hashed on a few threads behind a bounded queue.</summary>
[TestFixture]
public sealed class QueueBeforeHashing
{
    private const string Secret = "a secret of another system";

    private static readonly Argon2Digest Digest = Run.Hasher.Hash(Secret, Database.Cheap)!;

    private static readonly HashingOptions Options = new() { QueueLength = 2, QueueTime = TimeSpan.FromSeconds(2) };

    [TestCase(Secret, ExpectedResult = true)]
    [TestCase("a secret of another System", ExpectedResult = false)]
    public async Task<bool> A_queued_secret_is_compared_with_its_digest(string secret)
    {
        using var hashing = new HashingQueue(Run.Hasher, Options, threadCount: 1, new WorkersClock());
        Assert.That((await hashing.MatchesAsync(secret, Digest, HashingPriority.Other)).TryGet(out var matches, out _), Is.True);
        return matches;
    }

    // Without a thread no secret leaves the queue.
    [Test]
    public async Task A_secret_is_refused_at_once_when_the_queue_is_full()
    {
        using var hashing = new HashingQueue(Run.Hasher, Options, threadCount: 0, new WorkersClock());
        _ = hashing.MatchesAsync(Secret, Digest, HashingPriority.Other);
        _ = hashing.MatchesAsync(Secret, Digest, HashingPriority.Other);

        IsRefused(await hashing.MatchesAsync(Secret, Digest, HashingPriority.Other), Reason.HashingQueueFull);
    }

    [Test]
    public async Task A_secret_that_waited_exactly_the_queue_time_is_hashed()
    {
        using var hashing = new HashingQueue(Run.Hasher, Options, threadCount: 1, new WorkersClock(Options.QueueTime));
        Assert.That((await hashing.MatchesAsync(Secret, Digest, HashingPriority.Other)).TryGet(out _, out _), Is.True);
    }

    [Test]
    public async Task A_secret_that_waited_longer_than_the_queue_time_is_refused()
    {
        using var hashing = new HashingQueue(
            Run.Hasher, Options, threadCount: 1, new WorkersClock(Options.QueueTime + TimeSpan.FromTicks(1)));
        IsRefused(await hashing.MatchesAsync(Secret, Digest, HashingPriority.Other), Reason.HashingTooLate);
    }

    [Test]
    public async Task A_secret_that_would_wait_longer_than_the_queue_time_is_refused_at_once()
    {
        // A hash is taken for 20 ms until one was measured.
        var options = new HashingOptions { QueueLength = 1000, QueueTime = TimeSpan.FromSeconds(2) };
        using var hashing = new HashingQueue(Run.Hasher, options, threadCount: 0, new WorkersClock());
        for (var i = 0; i < 101; i++)
            _ = hashing.MatchesAsync(Secret, Digest, HashingPriority.SourceWithoutFailures);

        Assert.That(await RetryAfterAsync(HashingPriority.SourceWithoutFailures), Is.InRange(2.0, 2.1));
        Assert.That(await RetryAfterAsync(HashingPriority.Other), Is.InRange(2.0, 2.1), "these come later");
        Assert.That(hashing.MatchesAsync(Secret, Digest, HashingPriority.KnownSecret).IsCompleted, Is.False, "these come first");

        async Task<double> RetryAfterAsync(HashingPriority priority) =>
            (await hashing.MatchesAsync(Secret, Digest, priority)).TryGet(out _, out var error) ? 0 : error!.RetryAfter!.Value.TotalSeconds;
    }

    // A server that starts for the first time, and thousands of clients with right secrets.
    [Test]
    public async Task Known_secrets_that_are_refused_are_told_to_come_back_one_after_the_other()
    {
        var options = new HashingOptions { QueueLength = 1000, QueueTime = TimeSpan.FromSeconds(2) };
        using var hashing = new HashingQueue(Run.Hasher, options, threadCount: 0, new WorkersClock());
        for (var i = 0; i < 101; i++)
            _ = hashing.MatchesAsync(Secret, Digest, HashingPriority.KnownSecret);

        var waits = new List<double>();
        for (var i = 0; i < 20_000; i++)
        {
            Assert.That((await hashing.MatchesAsync(Secret, Digest, HashingPriority.KnownSecret)).TryGet(out _, out var error), Is.False);
            waits.Add(error!.RetryAfter!.Value.TotalSeconds);
        }

        using (Assert.EnterMultipleScope())
        {
            Assert.That(waits[0], Is.InRange(2.0, 2.1));
            Assert.That(waits[1000], Is.GreaterThan(waits[0]).And.LessThan(22.1), "up to 1000 hashes of 20 ms later");
            Assert.That(waits[^1], Is.EqualTo(300), "never later than five minutes");
        }
    }

    [Test]
    public void Disposing_the_queue_answers_waiting_secrets_and_ends_the_threads()
    {
        var clock = new WorkersClock();
        var hashing = new HashingQueue(Run.Hasher, Options, threadCount: 2, clock);
        Task<Result<bool>>[] answers =
        [
            hashing.MatchesAsync(Secret, Digest, HashingPriority.Other), hashing.MatchesAsync(Secret, Digest, HashingPriority.Other),
        ];
        hashing.Dispose();

        Assert.That(answers.Select(answer => answer.IsCompletedSuccessfully), Is.All.True);
        Assert.That(clock.Workers.Select(thread => thread.IsAlive), Is.Not.Empty.And.All.False);
    }

    [TestCase(256, 1, ExpectedResult = 1)]
    [TestCase(256, 2, ExpectedResult = 1)]
    [TestCase(256, 4, ExpectedResult = 3)]
    [TestCase(256, 64, ExpectedResult = 4)]
    [TestCase(64, 64, ExpectedResult = 1)]
    [TestCase(16384, 64, ExpectedResult = 63)]
    public int The_number_of_threads_is_bounded_by_the_memory_budget_and_by_all_cores_but_one(
        int memoryBudgetMiB, int cores) =>
        new HashingOptions { MemoryBudgetMiB = memoryBudgetMiB }.Threads(cores);

    private static void IsRefused(Result<bool> result, string reason)
    {
        Assert.That(result.TryGet(out _, out var error), Is.False);
        Assert.That(error, Is.EqualTo(OAuthError.TemporarilyUnavailable(reason, TimeSpan.FromSeconds(1))));
    }
}
