using System.Collections.Concurrent;
using System.Net;
using System.Net.Http.Headers;
using System.Text;
using Examples;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Examples;

/// <summary>What scripts/examples/dotnet-caller does with tokens, in the time of a clock of its own.</summary>
[TestFixture]
public sealed class DotnetCaller : ServerFixture
{
    private const int Lifetime = 600; // seconds, TokenService's default

    // Far from what an answer takes: one that never comes fails its test, rather than hang the run.
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(30);

    private FakeClock clock = null!;
    private Way way = null!;
    private ProtectedApi api = null!;

    [OneTimeSetUp]
    public async Task StartApi() => api = await ProtectedApi.StartAsync(Server);

    [OneTimeTearDown]
    public async Task StopApi() => await (api?.DisposeAsync() ?? ValueTask.CompletedTask);

    [SetUp]
    public void StartAnew()
    {
        clock = new FakeClock();
        way = new Way(Server, clock);
    }

    [TearDown]
    public void End() => way.Dispose();

    [Test]
    public async Task A_thousand_parallel_calls_make_one_token_request()
    {
        var client = await Database.CreateClientAsync("thousandfold");
        using var http = Calling(Credentials(client));

        var statuses = await Task.WhenAll(Enumerable.Range(0, 1000).Select(_ => Task.Run(() => StatusAsync(http))));

        // Events are written in order: what came before that of another client is there.
        await Server.Events.OfAsync((await TokenRequestBuilder.For(Client).SendAsync(Server)).RequestId);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(statuses, Is.All.EqualTo(HttpStatusCode.OK));
            Assert.That(way.Asked, Has.Count.EqualTo(1));
            Assert.That(Server.Events.Lines, Has.One.Contains("thousandfold"));
        }
    }

    [Test]
    public async Task A_token_is_renewed_early_and_nobody_waits_for_it()
    {
        var credentials = Credentials();
        var start = clock.GetUtcNow();
        var first = await credentials.GetTokenAsync();

        for (var percent = 5; percent < 70; percent += 5)
        {
            At(start, percent);
            Assert.That(await credentials.GetTokenAsync(), Is.EqualTo(first));
        }

        At(start, percent: 85);
        var meanwhile = await credentials.GetTokenAsync();
        await Soon.IsAsync("there is another", async () => await credentials.GetTokenAsync() != first);

        using (Assert.EnterMultipleScope())
        {
            Assert.That(meanwhile, Is.EqualTo(first));
            Assert.That(way.Asked, Is.EqualTo([start, clock.GetUtcNow()]));
        }
    }

    [Test]
    public async Task Those_who_start_together_do_not_renew_together()
    {
        var many = Enumerable.Range(0, 50).Select(_ => Credentials()).ToList();
        var start = clock.GetUtcNow();
        await Task.WhenAll(many.Select(one => one.GetTokenAsync()));

        At(start, percent: 69.9);
        await Task.WhenAll(many.Select(one => one.GetTokenAsync()));
        // In the middle of the time in which they renew.
        At(start, percent: 77.5);
        await Task.WhenAll(many.Select(one => one.GetTokenAsync()));
        await Soon.IsAsync("some have renewed", () => way.Asked.Count > many.Count);
        At(start, percent: 85);
        await Task.WhenAll(many.Select(one => one.GetTokenAsync()));
        await Soon.IsAsync("all have renewed", () => way.Asked.Count == 2 * many.Count);

        Assert.That(way.Asked.Distinct().Count(), Is.EqualTo(3));
    }

    [Test]
    public async Task After_a_long_silence_a_new_token_is_waited_for()
    {
        var credentials = Credentials();
        var first = await credentials.GetTokenAsync();
        clock.Advance(TimeSpan.FromSeconds(Lifetime));

        Assert.That(await credentials.GetTokenAsync(), Is.Not.EqualTo(first));
    }

    // The API's clock is the real one: the server lives an hour ago, so its token is dead to the API and alive to the caller.
    [TestCase("none", 3)]
    [TestCase("text", 3)]
    [TestCase("stream", 1)]
    public async Task A_refused_token_is_dropped_and_the_call_made_again_where_it_can_be(string content, int calls)
    {
        await Database.ExecuteAsync("update token_service.client_secret set not_before = now() - interval '1 day'");
        var past = new FakeClock(TimeSpan.FromHours(-1));
        await using var server = await TestServer.StartAsync(Database.ConnectionString, past);
        await using var verifier = await ProtectedApi.StartAsync(server);
        using var wayThere = new Way(server, clock);
        using var wayToApi = new Way(new SocketsHttpHandler(), clock);
        var credentials = Credentials(wayThere);
        using var http = Calling(credentials, verifier.Address, wayToApi);
        var dead = await credentials.GetTokenAsync();
        past.Advance(TimeSpan.FromHours(1));

        using var request = new HttpRequestMessage(HttpMethod.Get, "/") { Content = Content(content) };
        using var response = await http.SendAsync(request);
        var isSentAgain = calls > 1;
        var next = isSentAgain ? await StatusAsync(http) : HttpStatusCode.OK;

        using (Assert.EnterMultipleScope())
        {
            Assert.That(response.StatusCode, Is.EqualTo(isSentAgain ? HttpStatusCode.OK : HttpStatusCode.Unauthorized));
            Assert.That(next, Is.EqualTo(HttpStatusCode.OK));
            Assert.That(wayToApi.Asked, Has.Count.EqualTo(calls));
            Assert.That(await credentials.GetTokenAsync(), Is.Not.EqualTo(dead));
            Assert.That(wayThere.Asked, Has.Count.EqualTo(2));
        }
    }

    [Test]
    public async Task An_API_that_refuses_every_token_costs_one_new_token_and_then_only_its_own_answers()
    {
        await using var other = await ProtectedApi.StartAsync(Server, audience: "https://ledger.example.com");
        using var http = Calling(Credentials(), other.Address, new SocketsHttpHandler());

        for (var call = 0; call < 5; call++)
            Assert.That(await StatusAsync(http), Is.EqualTo(HttpStatusCode.Unauthorized));

        Assert.That(way.Asked, Has.Count.EqualTo(2));
    }

    [TestCase(429)]
    [TestCase(503)]
    public async Task Retry_After_is_obeyed(int status)
    {
        way.Instead(status, "7");
        var token = Credentials().GetTokenAsync();

        await AsleepAsync();
        clock.Advance(TimeSpan.FromSeconds(7) - TimeSpan.FromMilliseconds(1));
        Assert.That(clock.Timers, Is.EqualTo(1), "it still waits");

        // Up to a quarter later than it was told.
        clock.Advance(TimeSpan.FromSeconds(7 * 0.25) + TimeSpan.FromMilliseconds(1));
        Assert.That(await token.WaitAsync(Limit), Does.StartWith("eyJ"));
        Assert.That(way.Asked, Has.Count.EqualTo(2));
    }

    [Test]
    public async Task Retry_After_may_be_a_date()
    {
        way.Instead(503, (clock.GetUtcNow() + TimeSpan.FromSeconds(8)).ToString("R"));
        var token = Credentials().GetTokenAsync();

        await AsleepAsync();
        clock.Advance(TimeSpan.FromSeconds(8) - TimeSpan.FromMilliseconds(1));
        Assert.That(clock.Timers, Is.EqualTo(1), "it still waits");
        clock.Advance(TimeSpan.FromSeconds(8));
        Assert.That(await token.WaitAsync(Limit), Does.StartWith("eyJ"));
    }

    [Test]
    public async Task Attempts_come_to_an_end()
    {
        for (var attempt = 0; attempt < 4; attempt++)
            way.Instead(503, retryAfter: null);
        var token = Credentials().GetTokenAsync();

        for (var attempt = 1; attempt < 3; attempt++)
        {
            await AsleepAsync();
            clock.Advance(TimeSpan.FromSeconds(attempt * 1.25));
        }

        Assert.That(async () => await token.WaitAsync(Limit), Throws.TypeOf<TokenRequestException>().With.Message.StartsWith("No token: 503 "));
        Assert.That(way.Asked, Has.Count.EqualTo(3));
    }

    // A ceiling of one token a minute, of the service itself: its Retry-After is longer than a call should wait.
    [Test]
    public async Task While_the_service_says_to_wait_it_is_left_alone()
    {
        var hasty = await Database.CreateClientAsync("hasty");
        await Database.ExecuteAsync("update token_service.client set tokens_per_minute = 1 where id = 'hasty'");
        await Server.HasHeardAsync();
        await Credentials(hasty).GetTokenAsync();
        var credentials = Credentials(hasty);

        for (var call = 0; call < 5; call++)
        {
            Assert.That(
                async () => await credentials.GetTokenAsync().WaitAsync(Limit),
                Throws.TypeOf<TokenRequestException>()
                    .With.Message.Match("^No token: 429 temporarily_unavailable: .* \\(Request-Id: .+\\)$"));
        }

        Assert.That(way.Asked, Has.Count.EqualTo(2));
        foreach (var time in new[] { clock, Server.Clock })
            time.Advance(TimeSpan.FromSeconds(75));
        Assert.That(await credentials.GetTokenAsync(), Does.StartWith("eyJ"));
    }

    [Test]
    public async Task A_token_that_is_alive_serves_while_it_cannot_be_renewed()
    {
        var credentials = Credentials();
        var start = clock.GetUtcNow();
        var first = await credentials.GetTokenAsync();
        for (var attempt = 0; attempt < 3; attempt++)
            way.Instead(503, retryAfter: null);

        At(start, percent: 85);
        for (var attempt = 1; attempt < 3; attempt++)
        {
            Assert.That(await credentials.GetTokenAsync(), Is.EqualTo(first));
            await AsleepAsync();
            clock.Advance(TimeSpan.FromSeconds(attempt * 1.25));
        }

        await Soon.IsAsync("the last attempt was made", () => way.Asked.Count == 4);
        Assert.That(await credentials.GetTokenAsync(), Is.EqualTo(first));
        await Soon.IsAsync("it is renewed when that is possible again", async () =>
        {
            clock.Advance(TimeSpan.FromSeconds(1));
            return await credentials.GetTokenAsync() != first;
        });
        Assert.That(clock.GetUtcNow(), Is.LessThan(start + TimeSpan.FromSeconds(Lifetime)), "while the first was alive");
    }

    [Test]
    public async Task Who_gives_up_takes_nothing_from_those_who_wait_with_him()
    {
        way.Instead(503, "5");
        var credentials = Credentials();
        using var patience = new CancellationTokenSource();
        var impatient = credentials.GetTokenAsync(patience.Token);
        var patient = credentials.GetTokenAsync(CancellationToken.None);

        await AsleepAsync();
        await patience.CancelAsync();
        Assert.That(async () => await impatient.WaitAsync(Limit), Throws.InstanceOf<OperationCanceledException>());
        clock.Advance(TimeSpan.FromSeconds(6.25));

        Assert.That(await patient.WaitAsync(Limit), Does.StartWith("eyJ"));
        Assert.That(way.Asked, Has.Count.EqualTo(2));
    }

    [Test]
    public async Task A_failure_says_what_the_server_said_and_tells_no_secret()
    {
        const string wrong = "not the secret";
        var credentials = Credentials(Client with { Secret = wrong });

        var error = (await Assert.ThrowsAsync<TokenRequestException>(() => credentials.GetTokenAsync()))!;
        await Assert.ThrowsAsync<TokenRequestException>(() => credentials.GetTokenAsync());

        using (Assert.EnterMultipleScope())
        {
            Assert.That(error.Message, Does.Match(
                "^No token: 401 invalid_client: Client authentication failed. \\(Request-Id: .+\\)$"));
            Assert.That($"{error}", Does.Not.Contain(wrong).And.Not.Contain(TokenRequestBuilder.Base64("billing:not+the+secret")));
            Assert.That(way.Asked, Has.Count.EqualTo(1), "requests, though there were two calls");
        }
    }

    [Test, Rfc(8707, "2")]
    public async Task A_resource_is_asked_for()
    {
        var known = await Credentials(Client, way, "https://api.example.com").GetTokenAsync();
        var unknown = Credentials(Client, way, "https://ledger.example.com");

        using (Assert.EnterMultipleScope())
        {
            Assert.That(known, Does.StartWith("eyJ"));
            Assert.That(
                async () => await unknown.GetTokenAsync().WaitAsync(Limit),
                Throws.TypeOf<TokenRequestException>().With.Message.StartsWith("No token: 400 invalid_target: "));
        }
    }

    [Test]
    public void A_token_goes_to_its_own_API_only()
    {
        using var http = Calling(Credentials());

        Assert.That(
            async () => await http.GetAsync(new Uri("http://127.0.0.2:1/")),
            Throws.InvalidOperationException.With.Message.StartsWith($"The token is for {api.Address}"));
        Assert.That(way.Asked, Is.Empty);
    }

    [Test]
    public void A_secret_goes_over_no_network_in_clear()
    {
        using var http = new HttpClient();

        Assert.That(
            () => new ClientCredentials(http, new Uri("http://tokens.example.com/token"), Client.Id, Client.Secret),
            Throws.ArgumentException);
    }

    [Test]
    public async Task The_program_calls_the_API_of_the_other_example()
    {
        await using var database = await Database.CreateAsync();
        var client = await database.CreateClientAsync("billing");
        await using var server = await TestServer.StartAtItsIssuerAsync(database);
        await using var example = await ExampleApi.StartAsync(server.Address.OriginalString);

        var ended = await Tool.RunAsync(
            "dotnet",
            [
                Path.Combine(AppContext.BaseDirectory, "Examples.Caller.dll"),
                "--TokenEndpoint", $"{server.Address}token", "--ClientId", client.Id, "--Api", $"{example.Address}",
            ],
            environment: ("ClientSecret", client.Secret));

        using (Assert.EnterMultipleScope())
        {
            Assert.That(ended.ExitCode, Is.Zero, ended.Error);
            Assert.That(ended.Output, Does.Contain("The invoices, for billing"));
            Assert.That(ended.Output + ended.Error, Does.Not.Contain(client.Secret).And.Not.Contain("eyJ"));
        }
    }

    private ClientCredentials Credentials() => Credentials(Client, way);

    private ClientCredentials Credentials(TestClient client) => Credentials(client, way);

    private ClientCredentials Credentials(Way way) => Credentials(Client, way);

    private ClientCredentials Credentials(TestClient client, Way way, string? resource = null) => new(
        new HttpClient(way, disposeHandler: false), new Uri($"{TestServer.Issuer}/token"), client.Id, client.Secret,
        "invoices:read", resource, clock);

    private HttpClient Calling(ClientCredentials credentials) =>
        Calling(credentials, api.Address, new SocketsHttpHandler { MaxConnectionsPerServer = 50 });

    private static HttpClient Calling(ClientCredentials credentials, Uri address, HttpMessageHandler way) =>
        new(new ClientCredentialsHandler(credentials, address) { InnerHandler = way }) { BaseAddress = address };

    private static async Task<HttpStatusCode> StatusAsync(HttpClient http)
    {
        using var response = await http.GetAsync(new Uri("/", UriKind.Relative));
        return response.StatusCode;
    }

    private static HttpContent? Content(string kind) => kind switch
    {
        "text" => new StringContent("text"),
        "stream" => new StreamContent(new MemoryStream(Encoding.ASCII.GetBytes("stream"))),
        _ => null,
    };

    private void At(DateTimeOffset start, double percent) =>
        clock.Advance(start + TimeSpan.FromSeconds(Lifetime * percent / 100) - clock.GetUtcNow());

    private Task AsleepAsync() => Soon.IsAsync("it waits", () => clock.Timers == 1);

    /// <summary>The way to a server, on which requests are counted, and some answered as a proxy would.</summary>
    private sealed class Way(HttpMessageHandler there, FakeClock clock) : DelegatingHandler(there)
    {
        private readonly ConcurrentQueue<(int Status, string? RetryAfter)> instead = new();

        public Way(TestServer server, FakeClock clock)
            : this(server.NewHandler(), clock)
        {
        }

        /// <summary>When a request came.</summary>
        public ConcurrentQueue<DateTimeOffset> Asked { get; } = new();

        /// <summary>One more request does not get through.</summary>
        public void Instead(int status, string? retryAfter) => instead.Enqueue((status, retryAfter));

        protected override Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
        {
            Asked.Enqueue(clock.GetUtcNow());
            if (!instead.TryDequeue(out var answer))
                return base.SendAsync(request, cancellationToken);

            var response = new HttpResponseMessage((HttpStatusCode)answer.Status) { Content = new StringContent("<html>") };
            if (answer.RetryAfter is { } wait)
                response.Headers.RetryAfter = RetryConditionHeaderValue.Parse(wait);
            return Task.FromResult(response);
        }
    }
}
