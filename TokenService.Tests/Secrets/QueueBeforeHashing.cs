using TokenService.Protocol;
using TokenService.Secrets;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Secrets;

/// <summary>Secrets are hashed on a few threads behind a bounded queue.</summary>
[TestFixture]
public sealed class QueueBeforeHashing
{
    private const string Secret = "a secret of another system";

    private static readonly Argon2Digest Digest = SecretHasher.Hash(Secret, Database.Cheap)!;

    private static readonly HashingOptions Options = new() { QueueLength = 2, QueueTime = TimeSpan.FromSeconds(2) };

    [TestCase(Secret, ExpectedResult = true)]
    [TestCase("a secret of another System", ExpectedResult = false)]
    public async Task<bool> A_queued_secret_is_compared_with_its_digest(string secret)
    {
        using var hashing = new HashingQueue(Options, threadCount: 1, new WorkersClock());
        Assert.That((await hashing.MatchesAsync(secret, Digest, namesRow: false)).TryGet(out var matches, out _), Is.True);
        return matches;
    }

    // Without a thread no secret leaves the queue.
    [Test]
    public async Task A_secret_is_refused_at_once_when_the_queue_is_full()
    {
        using var hashing = new HashingQueue(Options, threadCount: 0, new WorkersClock());
        _ = hashing.MatchesAsync(Secret, Digest, namesRow: false);
        _ = hashing.MatchesAsync(Secret, Digest, namesRow: false);

        IsRefused(await hashing.MatchesAsync(Secret, Digest, namesRow: false), Reason.HashingQueueFull);
    }

    [Test]
    public async Task A_secret_that_waited_exactly_the_queue_time_is_hashed()
    {
        using var hashing = new HashingQueue(Options, threadCount: 1, new WorkersClock(Options.QueueTime));
        Assert.That((await hashing.MatchesAsync(Secret, Digest, namesRow: false)).TryGet(out _, out _), Is.True);
    }

    [Test]
    public async Task A_secret_that_waited_longer_than_the_queue_time_is_refused()
    {
        using var hashing = new HashingQueue(Options, threadCount: 1, new WorkersClock(Options.QueueTime + TimeSpan.FromTicks(1)));
        IsRefused(await hashing.MatchesAsync(Secret, Digest, namesRow: false), Reason.HashingTooLate);
    }

    [Test]
    public void Disposing_the_queue_answers_waiting_secrets_and_ends_the_threads()
    {
        var clock = new WorkersClock();
        var hashing = new HashingQueue(Options, threadCount: 2, clock);
        Task<Result<bool>>[] answers =
        [
            hashing.MatchesAsync(Secret, Digest, namesRow: false), hashing.MatchesAsync(Secret, Digest, namesRow: false),
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
