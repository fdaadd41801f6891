using System.Text;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Options;
using TokenService.Clients;
using TokenService.Limits;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Operations;

/// <summary>No more requests are answered at once than are configured. Here the smallest number there may be.</summary>
[TestFixture]
public sealed class RequestsAtOnce
{
    private const int Most = 16;

    private readonly HashingGate hashing = new();
    private Database database = null!;
    private TestServer server = null!;
    private TestClient client = null!;

    [OneTimeSetUp]
    public async Task StartServer()
    {
        database = await Database.CreateAsync();
        client = await database.CreateClientAsync("billing");
        server = await TestServer.StartAsync(
            database.ConnectionString, new FakeClock(), services => services.AddSingleton(_ => hashing.NewThreads()),
            $"Limits:RequestsInFlight={Most}", "Limits:FailuresPerSource=10000",
            $"Hashing:MemoryKiB={Database.Cheap.MemoryKiB}", $"Hashing:Iterations={Database.Cheap.Iterations}");
        (await TokenRequestBuilder.For(client).SendAsync(server)).IsGrant("invoices:read");
    }

    [OneTimeTearDown]
    public async Task StopServer()
    {
        hashing.Open();
        await (server?.DisposeAsync() ?? ValueTask.CompletedTask);
        hashing.Dispose();
        await (database?.DisposeAsync() ?? ValueTask.CompletedTask);
    }

    [Test]
    public async Task One_more_is_refused_until_others_are_answered()
    {
        hashing.Close();
        var waiting = Enumerable.Range(0, Most)
            .Select(i => TokenRequestBuilder.For(new TestClient($"nobody-{i}", $"a guess {i}")).SendAsync(server)).ToList();
        var inFlight = server.Services.GetRequiredService<RequestsInFlight>();
        await Soon.IsAsync("all of them wait", () => inFlight.Count == Most);
        (await TokenRequestBuilder.For(client).SendAsync(server)).IsError(
            503, "temporarily_unavailable", "The server cannot answer now. Ask again later.", ("Retry-After", "1"));
        Assert.That((await server.GetAsync("/.well-known/jwks.json")).Status, Is.EqualTo(200));

        hashing.Open();
        foreach (var answer in await Task.WhenAll(waiting))
            answer.IsInvalidClient();
        (await TokenRequestBuilder.For(client).SendAsync(server)).IsGrant("invoices:read");
    }

    [Test]
    public async Task One_that_is_refused_leaves_too()
    {
        for (var i = 0; i <= Most; i++)
        {
            (await TokenRequestBuilder.Anonymous().SendAsync(server)).IsInvalidClient();
            (await TokenRequestBuilder.For(client with { Secret = "a wrong one" + client.Secret }).With("client_secret", "x").SendAsync(server))
                .IsError(400, "invalid_request", "The client authenticates in more than one way.");
            (await TokenRequestBuilder.For(client).WithScope("unheld").SendAsync(server))
                .IsError(400, "invalid_scope", "A scope is unknown or not held by this client.");
        }

        (await TokenRequestBuilder.For(client).SendAsync(server)).IsGrant("invoices:read");
    }

    // Or a few slow callers could keep everybody else out.
    [Test]
    public async Task A_body_that_has_not_come_does_not_count()
    {
        var slow = new List<Stream>();
        for (var i = 0; i <= Most; i++)
        {
            var connection = await server.ConnectAsync();
            slow.Add(connection);
            await connection.WriteAsync(Encoding.ASCII.GetBytes(
                "POST /token HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 9\r\n"
                + "Expect: 100-continue\r\n\r\n"));
            // It says so once it reads the body.
            var line = new byte[25];
            await connection.ReadExactlyAsync(line);
            Assert.That(Encoding.ASCII.GetString(line), Is.EqualTo("HTTP/1.1 100 Continue\r\n\r\n"));
        }

        (await TokenRequestBuilder.For(client).SendAsync(server)).IsGrant("invoices:read");
        foreach (var connection in slow)
            await connection.DisposeAsync();
    }
}

/// <summary>Of many callers that do not prove who they are, each waits for its turn to be told so. Here ten have a turn each second.</summary>
[TestFixture]
public sealed class RefusalsInTurn
{
    private const int PerSecond = 10;
    private const int AtOnce = 11; // ten of this second, and the first of the next
    private const int MostInFlight = 16;
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
            services => services.AddSingleton(provider => new RefusalPace(provider.GetRequiredService<IOptions<LimitOptions>>(), clock)),
            $"Limits:RefusalsPerSecond={PerSecond}", $"Limits:RequestsInFlight={MostInFlight}");
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
        for (var i = 0; i < MostInFlight; i++)
            waiting.Add(await WaitingAsync());
        (await TokenRequestBuilder.For(client).SendAsync(server)).IsGrant("invoices:read");

        Advance(MostInFlight * Turn, leaving: 0);
        await Task.WhenAll(waiting);
    }

    [Test]
    public async Task Who_finds_no_turn_within_the_longest_wait_waits_as_long_and_takes_none()
    {
        var (inTurn, late) = (new List<Task>(), new List<Task>());
        for (var wait = Turn; wait <= RefusalPace.LongestWait; wait += Turn)
            inTurn.Add(await WaitingAsync());
        for (var i = 0; i < AtOnce; i++)
            late.Add(await WaitingAsync());

        Advance(RefusalPace.LongestWait - Turn, leaving: 1 + late.Count);
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
        var pace = new RefusalPace(Options.Create(new LimitOptions { RefusalsPerSecond = PerSecond }), clock);
        using var gone = new CancellationTokenSource();
        var asked = Enumerable.Range(0, AtOnce + RefusalPace.MostWaiting).Select(_ => WaitAsync(gone.Token)).ToList();
        Assert.That(asked.Count(one => !one.IsCompleted), Is.EqualTo(RefusalPace.MostWaiting));
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

/// <summary>A client may have a ceiling of tokens per minute, and is told what to do about it.</summary>
[TestFixture]
public sealed class TokensPerMinute : ServerFixture
{
    private int number;
    private TestClient client = null!;

    [SetUp]
    public async Task CreateClient()
    {
        // The test before may have moved the clock so far that a heartbeat was late, and the next is not due.
        await Server.HearsAsync(() => Server.Clock.Advance(TimeSpan.FromSeconds(0.1)));
        client = await Database.CreateClientAsync($"client-{++number}");
    }

    [Test]
    public async Task So_many_are_given_at_once_and_then_one_with_each_part_of_a_minute()
    {
        await LimitAsync(2);
        await IsGrantedAsync(2);
        await IsRefusedAsync(seconds: 30);

        Server.Clock.Advance(TimeSpan.FromSeconds(29.5));
        await IsRefusedAsync(seconds: 1);
        Server.Clock.Advance(TimeSpan.FromSeconds(0.5));
        await IsGrantedAsync(1);
        await IsRefusedAsync(seconds: 30);

        Server.Clock.Advance(TimeSpan.FromMinutes(10));
        await IsGrantedAsync(2);
        await IsRefusedAsync(seconds: 30);
    }

    [Test]
    public async Task Others_are_not_concerned()
    {
        await LimitAsync(1);
        await IsGrantedAsync(1);
        await IsRefusedAsync(seconds: 60);
        for (var i = 0; i < 5; i++)
            (await TokenRequestBuilder.For(Client).SendAsync(Server)).IsGrant("invoices:read");
    }

    [Test]
    public async Task What_gets_no_token_does_not_count()
    {
        await LimitAsync(1);
        (await TokenRequestBuilder.For(client).WithScope("unheld").SendAsync(Server))
            .IsError(400, "invalid_scope", "A scope is unknown or not held by this client.");
        (await TokenRequestBuilder.For(client with { Secret = GeneratedSecret.Create().Value }).SendAsync(Server)).IsInvalidClient();
        await IsGrantedAsync(1);
    }

    // A stranger learns nothing of it, nor can he use it up.
    [Test]
    public async Task Who_is_not_the_client_is_refused_as_ever()
    {
        await LimitAsync(1);
        await IsGrantedAsync(1);
        (await TokenRequestBuilder.For(client with { Secret = GeneratedSecret.Create().Value }).SendAsync(Server)).IsInvalidClient();
    }

    [Test]
    public async Task A_ceiling_that_is_changed_or_taken_away_is_obeyed()
    {
        await IsGrantedAsync(3);
        await LimitAsync(1);
        await IsGrantedAsync(1);
        await IsRefusedAsync(seconds: 60);
        await LimitAsync(3);
        await IsGrantedAsync(3);
        await IsRefusedAsync(seconds: 20);
        await LimitAsync(0);
        await IsGrantedAsync(5);
    }

    private async Task LimitAsync(int tokensPerMinute)
    {
        await Database.ExecuteAsync(
            "select token_service.update_client(@Id, p_tokens_per_minute => @tokensPerMinute)", new { client.Id, tokensPerMinute });
        await Server.HasHeardAsync();
    }

    private async Task IsGrantedAsync(int times)
    {
        for (var i = 0; i < times; i++)
            (await TokenRequestBuilder.For(client).SendAsync(Server)).IsGrant("invoices:read");
    }

    private async Task IsRefusedAsync(int seconds) => (await TokenRequestBuilder.For(client).SendAsync(Server)).IsError(
        429, "temporarily_unavailable", "This client asks for tokens too often. Keep each token until shortly before it expires.",
        ("Retry-After", $"{seconds}"));
}
