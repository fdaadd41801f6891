using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Options;
using TokenService.Limits;
using TokenService.Secrets;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Limits;

/// <summary>
/// The throttle delays the refusals of callers that fail to authenticate, so that they are sent one after another. Here
/// it sends ten each second.
/// </summary>
[TestFixture]
public sealed class RefusalsInTurn
{
    private const int PerSecond = 10;
    private const int Burst = 11; // ten of this second, and the first of the next
    private const int MaxInFlight = 16;
    private static readonly TimeSpan Turn = TimeSpan.FromMilliseconds(100);

    private Database database = null!;
    private TestClient client = null!;
    private TestServer server = null!;

    // The clock of the throttle alone: each of its timers is one refusal that waits.
    private FakeClock clock = null!;

    [OneTimeSetUp]
    public async Task CreateDatabase()
    {
        database = await Database.CreateAsync();
        client = await database.CreateClientAsync("billing");
    }

    [SetUp]
    public async Task StartServer()
    {
        clock = new FakeClock();
        server = await StartAsync(_ => { });
        for (var i = 0; i < Burst; i++)
            await RefusedAsync();
    }

    [TearDown]
    public async Task StopServer()
    {
        // Otherwise a server would wait for the refusals that still wait after a failed test.
        clock.Advance(TimeSpan.FromMinutes(1));
        await server.DisposeAsync();
    }

    [OneTimeTearDown]
    public async Task DropDatabase() => await database.DisposeAsync();

    [Test]
    public async Task Each_refusal_waits_for_its_turn_and_an_authenticated_client_does_not_wait()
    {
        var (first, second) = (await WaitingAsync(), await WaitingAsync());
        (await TokenRequestBuilder.For(client).SendAsync(server)).IsGrant("invoices:read");
        (await TokenRequestBuilder.For(client).WithScope("unheld").SendAsync(server))
            .IsError(400, "invalid_scope", "A scope is unknown or not held by this client.");
        Assert.That(clock.Timers, Is.EqualTo(2));

        Advance(Turn, leaving: 1);
        await first;
        (await TokenRequestBuilder.For(client).SendAsync(server)).IsGrant("invoices:read");
        Advance(Turn, leaving: 0);
        await second;
    }

    // Somebody has captured it. The client itself never sends an assertion twice.
    [Test]
    public async Task The_refusal_of_a_used_assertion_waits_for_its_turn_too()
    {
        var key = await database.CreateKeyClientAsync("signer");
        var jwt = SignedJwt.Assertion(server, "signer", key).Signed();
        (await TokenRequestBuilder.ByAssertion(jwt).SendAsync(server)).IsGrant();

        var waiting = TokenRequestBuilder.ByAssertion(jwt).SendAsync(server);
        await Soon.IsAsync("the refusal waits", () => clock.Timers == 1);
        (await TokenRequestBuilder.ByAssertion(SignedJwt.Assertion(server, "signer", key).Signed()).WithScope("unheld").SendAsync(server))
            .IsError(400, "invalid_scope", "A scope is unknown or not held by this client.");

        Advance(Turn, leaving: 0);
        (await waiting).IsInvalidClient();
    }

    // A flood that keeps the hashing queue full gets 503, and would otherwise get it as fast as it likes.
    [Test]
    public async Task A_503_of_a_caller_that_is_not_authenticated_waits_for_its_turn_too()
    {
        var queue = new HashingQueue(Run.Hasher, new HashingOptions { QueueLength = 1 }, threadCount: 0, clock);
        foreach (var priority in Enum.GetValues<HashingPriority>())
            _ = queue.MatchesAsync("x", new Argon2Digest(Database.Cheap, new byte[16], new byte[32]), priority);
        await using var busy = await StartAsync(services => services.AddSingleton(queue));
        var guess = new TestClient("nobody", "a guess at a secret of another system");
        for (var i = 0; i < Burst; i++)
            Assert.That((await TokenRequestBuilder.For(guess).SendAsync(busy)).Status, Is.EqualTo(503));

        var late = TokenRequestBuilder.For(guess).SendAsync(busy);
        await Soon.IsAsync("the 503 waits", () => clock.Timers == 1);
        Advance(Turn, leaving: 0);
        (await late).IsError(
            503, "temporarily_unavailable",
                "The server cannot answer now. Retry-After says when to ask again.", ("Retry-After", "1"));
    }

    // Otherwise a flood of refusals would keep all other callers out.
    [Test]
    public async Task A_waiting_refusal_is_not_a_request_in_flight()
    {
        var waiting = new List<Task>();
        for (var i = 0; i < MaxInFlight; i++)
            waiting.Add(await WaitingAsync());
        (await TokenRequestBuilder.For(client).SendAsync(server)).IsGrant("invoices:read");

        Advance(MaxInFlight * Turn, leaving: 0);
        await Task.WhenAll(waiting);
    }

    [Test]
    public async Task Refusals_without_a_turn_are_spread_over_the_second_half_of_the_longest_wait_and_take_no_turn()
    {
        var (inTurn, late) = (new List<Task>(), new List<Task>());
        for (var wait = Turn; wait <= RefusalThrottle.MaxWait; wait += Turn)
            inTurn.Add(await WaitingAsync());
        for (var i = 0; i < Burst; i++)
            late.Add(await WaitingAsync());

        Advance(RefusalThrottle.MaxWait / 2, leaving: (inTurn.Count / 2) + late.Count);
        // One of the late ones with each of the others, and the first and the last of them at the end.
        Advance((RefusalThrottle.MaxWait / 2) - Turn, leaving: 1 + 2);
        var next = await WaitingAsync();
        Advance(Turn, leaving: 1);
        await Task.WhenAll([.. inTurn, .. late]);
        Advance(Turn, leaving: 0);
        await next;
    }

    // The test asks the throttle directly: a server would need one connection for each waiting refusal.
    [Test]
    public async Task A_refusal_is_sent_at_once_when_the_queue_is_full_until_others_go_away()
    {
        var throttle = new RefusalThrottle(Options.Create(new LimitOptions { RefusalsPerSecond = PerSecond }), clock);
        using var gone = new CancellationTokenSource();
        var waiting = Enumerable.Range(0, Burst + RefusalThrottle.MaxWaiting)
            .Select(_ => WaitAsync(gone.Token)).ToList();
        Assert.That(waiting.Count(one => !one.IsCompleted), Is.EqualTo(RefusalThrottle.MaxWaiting));
        for (var i = 0; i < Burst; i++)
            Assert.That(WaitAsync(gone.Token).IsCompleted, Is.True);

        await gone.CancelAsync();
        await Task.WhenAll(waiting);
        Assert.That(WaitAsync(CancellationToken.None).IsCompleted, Is.False);

        Task WaitAsync(CancellationToken ct) => throttle.WaitAsync(ct).AsTask();
    }

    [Test]
    public async Task A_quiet_minute_restores_the_burst()
    {
        clock.Advance(TimeSpan.FromMinutes(1));
        for (var i = 0; i < Burst; i++)
            await RefusedAsync();
        var one = await WaitingAsync();
        Advance(Turn, leaving: 0);
        await one;
    }

    private Task<TestServer> StartAsync(Action<IServiceCollection> replace) => TestServer.StartAsync(
        database.ConnectionString,
        new FakeClock(),
        services => replace(services.AddSingleton(
            provider => new RefusalThrottle(provider.GetRequiredService<IOptions<LimitOptions>>(), clock))),
        $"Limits:RefusalsPerSecond={PerSecond}", $"Limits:RequestsInFlight={MaxInFlight}");

    private async Task RefusedAsync() =>
        (await TokenRequestBuilder.For(new TestClient("nobody", GeneratedSecret.Create().Value)).SendAsync(server)).IsInvalidClient();

    // The timers are counted before the test awaits an answer, because that answer might never come.
    private void Advance(TimeSpan time, int leaving)
    {
        clock.Advance(time);
        Assert.That(clock.Timers, Is.EqualTo(leaving), "refusals that still wait");
    }

    /// <summary>Sends a request and returns, once its refusal waits, the answer to come.</summary>
    private async Task<Task> WaitingAsync()
    {
        var (waiting, answer) = (clock.Timers, RefusedAsync());
        await Soon.IsAsync("the refusal waits", () => clock.Timers == waiting + 1);
        return answer;
    }
}
