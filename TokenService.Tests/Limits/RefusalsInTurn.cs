using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Options;
using TokenService.Limits;
using TokenService.Secrets;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Limits;

/// <summary>Of many callers that do not prove who they are, each waits for its turn to be told so. Here ten have a turn each second.</summary>
[TestFixture]
public sealed class RefusalsInTurn
{
    private const int PerSecond = 10;
    private const int AtOnce = 11; // ten of this second, and the first of the next
    private const int MaxInFlight = 16;
    private static readonly TimeSpan Turn = TimeSpan.FromMilliseconds(100);

    private Database database = null!;
    private TestClient client = null!;
    private TestServer server = null!;

    // Of the pace alone: each of its timers is one who waits.
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
        server = await TestServer.StartAsync(
            database.ConnectionString,
            new FakeClock(),
            services => services.AddSingleton(provider => new RefusalThrottle(provider.GetRequiredService<IOptions<LimitOptions>>(), clock)),
            $"Limits:RefusalsPerSecond={PerSecond}", $"Limits:RequestsInFlight={MaxInFlight}");
        for (var i = 0; i < AtOnce; i++)
            await RefusedAsync();
    }

    [TearDown]
    public async Task StopServer()
    {
        clock.Advance(TimeSpan.FromMinutes(1)); // lest it wait for those whom a failure left
        await server.DisposeAsync();
    }

    [OneTimeTearDown]
    public async Task DropDatabase() => await database.DisposeAsync();

    [Test]
    public async Task Each_waits_for_its_own_and_who_proves_who_it_is_does_not_wait()
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

    // Or a flood of them would keep everybody else out.
    [Test]
    public async Task Who_waits_is_not_in_flight()
    {
        var waiting = new List<Task>();
        for (var i = 0; i < MaxInFlight; i++)
            waiting.Add(await WaitingAsync());
        (await TokenRequestBuilder.For(client).SendAsync(server)).IsGrant("invoices:read");

        Advance(MaxInFlight * Turn, leaving: 0);
        await Task.WhenAll(waiting);
    }

    [Test]
    public async Task Who_finds_no_turn_within_the_longest_wait_waits_as_long_and_takes_none()
    {
        var (inTurn, late) = (new List<Task>(), new List<Task>());
        for (var wait = Turn; wait <= RefusalThrottle.MaxWait; wait += Turn)
            inTurn.Add(await WaitingAsync());
        for (var i = 0; i < AtOnce; i++)
            late.Add(await WaitingAsync());

        Advance(RefusalThrottle.MaxWait - Turn, leaving: 1 + late.Count);
        var next = await WaitingAsync();
        Advance(Turn, leaving: 1);
        await Task.WhenAll([.. inTurn, .. late]);
        Advance(Turn, leaving: 0);
        await next;
    }

    // Without a server: it would take as many connections.
    [Test]
    public async Task Of_more_than_may_wait_each_is_told_at_once_until_others_go_away()
    {
        var pace = new RefusalThrottle(Options.Create(new LimitOptions { RefusalsPerSecond = PerSecond }), clock);
        using var gone = new CancellationTokenSource();
        var asked = Enumerable.Range(0, AtOnce + RefusalThrottle.MaxWaiting).Select(_ => WaitAsync(gone.Token)).ToList();
        Assert.That(asked.Count(one => !one.IsCompleted), Is.EqualTo(RefusalThrottle.MaxWaiting));
        for (var i = 0; i < AtOnce; i++)
            Assert.That(WaitAsync(gone.Token).IsCompleted, Is.True);

        await gone.CancelAsync();
        await Task.WhenAll(asked);
        Assert.That(WaitAsync(CancellationToken.None).IsCompleted, Is.False);

        Task WaitAsync(CancellationToken ct) => pace.WaitAsync(ct).AsTask();
    }

    [Test]
    public async Task After_a_quiet_while_all_is_as_before()
    {
        clock.Advance(TimeSpan.FromMinutes(1));
        for (var i = 0; i < AtOnce; i++)
            await RefusedAsync();
        var one = await WaitingAsync();
        Advance(Turn, leaving: 0);
        await one;
    }

    private async Task RefusedAsync() =>
        (await TokenRequestBuilder.For(new TestClient("nobody", GeneratedSecret.Create().Value)).SendAsync(server)).IsInvalidClient();

    // Looked at before anybody is awaited, who might never come.
    private void Advance(TimeSpan time, int leaving)
    {
        clock.Advance(time);
        Assert.That(clock.Timers, Is.EqualTo(leaving), "so many wait yet");
    }

    /// <summary>Once one more waits, its answer to come.</summary>
    private async Task<Task> WaitingAsync()
    {
        var (waiting, answer) = (clock.Timers, RefusedAsync());
        await Soon.IsAsync("it waits", () => clock.Timers == waiting + 1);
        return answer;
    }
}
