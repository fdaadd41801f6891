using System.Collections.Concurrent;
using System.Diagnostics.Metrics;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Options;
using TokenService.Authentication;
using TokenService.Clients;
using TokenService.Limits;
using TokenService.Postgres;
using TokenService.Protocol;
using TokenService.Telemetry;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Operations;

/// <summary>Secrets are hashed on a few threads behind a bounded queue.</summary>
[TestFixture]
public sealed class QueueBeforeHashing
{
    private const string Secret = "a secret of another system";

    private static readonly SecretDigest Digest = SecretHasher.Hash(Secret, Database.Cheap)!;

    private static readonly HashingOptions Options = new() { QueueLength = 2, QueueTime = TimeSpan.FromSeconds(2) };

    [TestCase(Secret, ExpectedResult = true)]
    [TestCase("a secret of another System", ExpectedResult = false)]
    public async Task<bool> A_secret_is_compared(string secret)
    {
        using var hashing = new HashingThreads(Options, threadCount: 1, new WorkersClock());
        Assert.That((await hashing.MatchesAsync(secret, Digest, namesRow: false)).Refused(out _, out var matches), Is.False);
        return matches;
    }

    // Without a thread nothing leaves the queue.
    [Test]
    public async Task One_more_than_the_queue_holds_is_refused_at_once()
    {
        using var hashing = new HashingThreads(Options, threadCount: 0, new WorkersClock());
        _ = hashing.MatchesAsync(Secret, Digest, namesRow: false);
        _ = hashing.MatchesAsync(Secret, Digest, namesRow: false);

        IsRefused(await hashing.MatchesAsync(Secret, Digest, namesRow: false), "the hashing queue is full");
    }

    [Test]
    public async Task One_that_waited_as_long_as_allowed_is_hashed()
    {
        using var hashing = new HashingThreads(Options, threadCount: 1, new WorkersClock(Options.QueueTime));
        Assert.That((await hashing.MatchesAsync(Secret, Digest, namesRow: false)).Refused(out _, out _), Is.False);
    }

    [Test]
    public async Task One_that_waited_longer_is_refused()
    {
        using var hashing = new HashingThreads(Options, threadCount: 1, new WorkersClock(Options.QueueTime + TimeSpan.FromTicks(1)));
        IsRefused(await hashing.MatchesAsync(Secret, Digest, namesRow: false), "the secret waited too long to be hashed");
    }

    [Test]
    public void At_the_end_what_waits_is_answered_and_the_threads_are_gone()
    {
        var clock = new WorkersClock();
        var hashing = new HashingThreads(Options, threadCount: 2, clock);
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
    public int Threads_are_as_many_as_the_budget_feeds_and_a_core_is_left(int memoryBudgetMiB, int cores) =>
        new HashingOptions { MemoryBudgetMiB = memoryBudgetMiB }.Threads(cores);

    private static void IsRefused(Result<bool> result, string reason)
    {
        Assert.That(result.Refused(out var error, out _), Is.True);
        Assert.That(error, Is.EqualTo(OAuthError.TemporarilyUnavailable(reason, TimeSpan.FromSeconds(1))));
    }
}

[TestFixture]
public sealed class WhenTheHashingQueueIsFull
{
    [Test]
    public async Task Is_answered_503_with_the_time_to_wait()
    {
        await using var database = await Database.CreateAsync();
        var client = await database.CreateClientAsync("billing");
        var clock = new FakeClock();
        // Without a thread the one secret stays in the queue.
        await using var server = await TestServer.StartAsync(
            database.ConnectionString, clock,
            services => services.AddSingleton(_ => new HashingThreads(new HashingOptions { QueueLength = 1 }, threadCount: 0, clock)));
        var digest = new SecretDigest(Database.Cheap, new byte[SecretDigest.SaltLength], new byte[SecretDigest.HashLength]);
        _ = server.Services.GetRequiredService<HashingThreads>().MatchesAsync("x", digest, namesRow: true);

        (await TokenRequestBuilder.For(client).SendAsync(server)).IsError(
            503, "temporarily_unavailable", "The server cannot answer now. Ask again later.", ("Retry-After", "1"));
    }
}

/// <summary>RFC 6749 §2.3.1: what a refusal costs must not tell an unknown client from a wrong secret.</summary>
[TestFixture, Rfc(6749, "5.2f")]
public sealed class CostOfRefusals
{
    private const string Imported = "a wrong secret of another system";

    private static readonly string Wrong = GeneratedSecret.Create().Value;

    private readonly WorkersClock clock = new();
    private Database database = null!;
    private HashingThreads hashing = null!;
    private readonly ServiceProvider services = new ServiceCollection().AddMetrics().BuildServiceProvider();
    private ClientCache clients = null!;
    private ClientAuthenticator authenticator = null!;

    // All clients here hold the one imported secret, besides a generated one.
    [OneTimeSetUp]
    public async Task CreateClients()
    {
        database = await Database.CreateAsync();
        foreach (var id in new[] { "enabled", "disabled", "poster" })
        {
            var client = await database.CreateClientAsync(id, methods: id == "poster" ? "client_secret_post" : "client_secret_basic");
            await database.AddSecretAsync(client.Id, "the right secret of another system");
        }

        await database.CreateClientAsync("generated");
        await database.ExecuteAsync("update token_service.client set enabled = false where id = 'disabled'");

        var options = Options.Create(new HashingOptions { MemoryKiB = Database.Cheap.MemoryKiB, Iterations = Database.Cheap.Iterations });
        hashing = new HashingThreads(options.Value, threadCount: 1, clock);
        var notifications = new Notifications(database.Source, TimeProvider.System, NullLogger<Notifications>.Instance);
        clients = new ClientCache(
            new ClientStore(database.Source), notifications, Options.Create(new ClientCacheOptions()), new Metrics(services.GetRequiredService<IMeterFactory>()),
            TimeProvider.System, NullLogger<ClientCache>.Instance);
        authenticator = new ClientAuthenticator(
            clients, new RememberedSecrets(options, TimeProvider.System),
            new FailedAttempts(Options.Create(new LimitOptions()), TimeProvider.System), hashing, options, TimeProvider.System);
    }

    [OneTimeTearDown]
    public async Task DropDatabase()
    {
        hashing.Dispose();
        clients.Dispose();
        await services.DisposeAsync();
        await database.DisposeAsync();
    }

    [Test]
    public async Task A_wrong_secret_of_another_system_costs_one_hash(
        [Values("nobody", "enabled", "disabled", "poster", "generated")] string clientId) =>
        Assert.That(await HashesAsync(clientId, Imported), Is.EqualTo(1));

    [Test]
    public async Task A_wrong_secret_of_ours_costs_none(
        [Values("nobody", "enabled", "disabled", "poster", "generated")] string clientId) =>
        Assert.That(await HashesAsync(clientId, Wrong), Is.Zero);

    [Test]
    public async Task A_damaged_secret_of_ours_costs_none(
        [Values("nobody", "enabled", "disabled", "poster", "generated")] string clientId) =>
        Assert.That(await HashesAsync(clientId, Wrong[..^1]), Is.Zero);

    private async Task<int> HashesAsync(string clientId, string secret)
    {
        clock.Workers.Clear();
        var result = await authenticator.AuthenticateAsync(new PresentedCredentials.Basic(clientId, secret), source: null, CancellationToken.None);
        Assert.That(result.Refused(out var error, out _) && error.Code == "invalid_client");
        return clock.Workers.Count;
    }
}

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
