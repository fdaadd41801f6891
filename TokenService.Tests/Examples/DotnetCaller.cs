using System.Collections.Concurrent;
using System.Net;
using System.Net.Http.Headers;
using System.Security.Cryptography;
using System.Text;
using Examples;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Examples;

/// <summary>Tests how scripts/examples/dotnet-caller gets and uses tokens, with a fake clock.</summary>
[TestFixture]
public sealed class DotnetCaller : ServerFixture
{
    private const int Lifetime = 600; // seconds, TokenService's default

    // Far longer than an answer takes. An answer that never comes fails its test and does not hang the run.
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(30);

    private FakeClock clock = null!;
    private Interceptor interceptor = null!;
    private ProtectedApi api = null!;

    [OneTimeSetUp]
    public async Task StartApi() => api = await ProtectedApi.StartAsync(Server);

    [OneTimeTearDown]
    public async Task StopApi() => await (api?.DisposeAsync() ?? ValueTask.CompletedTask);

    [SetUp]
    public void CreateInterceptor()
    {
        clock = new FakeClock();
        interceptor = new Interceptor(Server, clock);
    }

    [TearDown]
    public void DisposeInterceptor() => interceptor.Dispose();

    [Test]
    public async Task A_thousand_parallel_calls_make_one_token_request()
    {
        var client = await Database.CreateClientAsync("thousandfold");
        using var http = Calling(Credentials(client));

        var statuses = await Task.WhenAll(Enumerable.Range(0, 1000).Select(_ => Task.Run(() => StatusAsync(http))));

        // Events are written in order: once another client's event is written, all earlier events are written too.
        await Server.Events.OfAsync((await TokenRequestBuilder.For(Client).SendAsync(Server)).EventId);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(statuses, Is.All.EqualTo(HttpStatusCode.OK));
            Assert.That(interceptor.RequestTimes, Has.Count.EqualTo(1));
            Assert.That(Server.Events.Lines, Has.One.Contains("thousandfold"));
        }
    }

    [Test]
    public async Task A_token_is_renewed_early_and_no_call_waits_for_it()
    {
        var credentials = Credentials();
        var start = clock.GetUtcNow();
        var first = await credentials.GetTokenAsync();

        for (var percent = 5; percent < 70; percent += 5)
        {
            At(start, percent);
            Assert.That(await credentials.GetTokenAsync(), Is.EqualTo(first));
        }

        At(start, percent: 80);
        var meanwhile = await credentials.GetTokenAsync();
        await Soon.IsAsync("there is another token", async () => await credentials.GetTokenAsync() != first);

        using (Assert.EnterMultipleScope())
        {
            Assert.That(meanwhile, Is.EqualTo(first));
            Assert.That(interceptor.RequestTimes, Is.EqualTo([start, clock.GetUtcNow()]));
        }
    }

    [Test]
    public async Task Callers_that_start_together_do_not_renew_together()
    {
        var many = Enumerable.Range(0, 50).Select(_ => Credentials()).ToList();
        var start = clock.GetUtcNow();
        await Task.WhenAll(many.Select(one => one.GetTokenAsync()));

        At(start, percent: 69.9);
        await Task.WhenAll(many.Select(one => one.GetTokenAsync()));
        // 75 % is the middle of the span in which the callers renew.
        At(start, percent: 75);
        await Task.WhenAll(many.Select(one => one.GetTokenAsync()));
        await Soon.IsAsync("some have renewed", () => interceptor.RequestTimes.Count > many.Count);
        At(start, percent: 80);
        await Task.WhenAll(many.Select(one => one.GetTokenAsync()));
        await Soon.IsAsync("all have renewed", () => interceptor.RequestTimes.Count == 2 * many.Count);

        Assert.That(interceptor.RequestTimes.Distinct().Count(), Is.EqualTo(3));
    }

    // 80 % of the lifetime or, if that is sooner, 60 seconds before its end, but at least half of it; and up to a tenth of
    // the lifetime sooner.
    [TestCase(3600, 2520, 2880)]
    [TestCase(300, 210, 240)]
    [TestCase(200, 120, 140)]
    [TestCase(60, 24, 30)]
    public async Task The_time_of_the_renewal_depends_on_the_lifetime(int lifetime, int earliest, int latest)
    {
        var client = await Database.CreateClientAsync($"of-{lifetime}");
        await Database.ExecuteAsync($"update token_service.client set token_lifetime_seconds = {lifetime} where id = 'of-{lifetime}'");
        await Server.HasReceivedNotificationsAsync();
        var many = Enumerable.Range(0, 20).Select(_ => Credentials(client)).ToList();
        await Task.WhenAll(many.Select(one => one.GetTokenAsync()));

        clock.Advance(TimeSpan.FromSeconds(earliest - 1));
        await Task.WhenAll(many.Select(one => one.GetTokenAsync()));
        Assert.That(interceptor.RequestTimes, Has.Count.EqualTo(many.Count));

        clock.Advance(TimeSpan.FromSeconds(latest - earliest + 1));
        await Task.WhenAll(many.Select(one => one.GetTokenAsync()));
        await Soon.IsAsync("all have renewed", () => interceptor.RequestTimes.Count == 2 * many.Count);
    }

    [Test]
    public async Task A_call_after_the_token_expired_waits_for_a_new_one()
    {
        var credentials = Credentials();
        var first = await credentials.GetTokenAsync();
        clock.Advance(TimeSpan.FromSeconds(Lifetime));

        Assert.That(await credentials.GetTokenAsync(), Is.Not.EqualTo(first));
    }

    // The server's clock is an hour behind the API's real clock, so its token is expired to the API and alive to the
    // caller.
    [TestCase("none", 3)]
    [TestCase("text", 3)]
    [TestCase("stream", 1)]
    public async Task A_refused_token_is_dropped_and_the_request_is_repeated_if_its_body_can_be_sent_again(
        string content, int calls)
    {
        await Database.ExecuteAsync("update token_service.client_secret set not_before = now() - interval '1 day'");
        var past = new FakeClock(TimeSpan.FromHours(-1));
        await using var server = await TestServer.StartAsync(Database.ConnectionString, past);
        await using var verifier = await ProtectedApi.StartAsync(server);
        using var toServer = new Interceptor(server, clock);
        using var toApi = new Interceptor(new SocketsHttpHandler(), clock);
        var credentials = Credentials(toServer);
        using var http = Calling(credentials, verifier.Address, toApi);
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
            Assert.That(toApi.RequestTimes, Has.Count.EqualTo(calls));
            Assert.That(await credentials.GetTokenAsync(), Is.Not.EqualTo(dead));
            Assert.That(toServer.RequestTimes, Has.Count.EqualTo(2));
        }
    }

    [Test]
    public async Task An_API_that_refuses_every_token_causes_only_one_further_token_request()
    {
        await using var other = await ProtectedApi.StartAsync(Server, audience: "https://ledger.example.com");
        using var http = Calling(Credentials(), other.Address, new SocketsHttpHandler());

        for (var call = 0; call < 5; call++)
            Assert.That(await StatusAsync(http), Is.EqualTo(HttpStatusCode.Unauthorized));

        Assert.That(interceptor.RequestTimes, Has.Count.EqualTo(2));
    }

    [TestCase(429)]
    [TestCase(503)]
    public async Task Retry_After_is_obeyed(int status)
    {
        interceptor.AnswerInstead(status, "7");
        var token = Credentials().GetTokenAsync();

        await CallerWaitsAsync();
        clock.Advance(TimeSpan.FromSeconds(7) - TimeSpan.FromMilliseconds(1));
        Assert.That(clock.Timers, Is.EqualTo(1), "the caller still waits");

        // The caller waits up to a quarter longer than Retry-After says.
        clock.Advance(TimeSpan.FromSeconds(7 * 0.25) + TimeSpan.FromMilliseconds(1));
        Assert.That(await token.WaitAsync(Limit), Does.StartWith("eyJ"));
        Assert.That(interceptor.RequestTimes, Has.Count.EqualTo(2));
    }

    [Test]
    public async Task Retry_After_may_be_a_date()
    {
        interceptor.AnswerInstead(503, (clock.GetUtcNow() + TimeSpan.FromSeconds(8)).ToString("R"));
        var token = Credentials().GetTokenAsync();

        await CallerWaitsAsync();
        clock.Advance(TimeSpan.FromSeconds(8) - TimeSpan.FromMilliseconds(1));
        Assert.That(clock.Timers, Is.EqualTo(1), "the caller still waits");
        clock.Advance(TimeSpan.FromSeconds(8));
        Assert.That(await token.WaitAsync(Limit), Does.StartWith("eyJ"));
    }

    [TestCase(429)]
    [TestCase(503)]
    public async Task Retry_After_of_the_API_is_obeyed(int status)
    {
        using var toApi = new Interceptor(new SocketsHttpHandler(), clock);
        using var http = Calling(Credentials(), api.Address, toApi);
        toApi.AnswerInstead(status, "7");
        var call = StatusAsync(http);

        await CallerWaitsAsync();
        clock.Advance(TimeSpan.FromSeconds(7) - TimeSpan.FromMilliseconds(1));
        Assert.That(clock.Timers, Is.EqualTo(1), "the caller still waits");
        clock.Advance(TimeSpan.FromSeconds(7 * 0.25) + TimeSpan.FromMilliseconds(1));

        Assert.That(await call.WaitAsync(Limit), Is.EqualTo(HttpStatusCode.OK));
        Assert.That(toApi.RequestTimes, Has.Count.EqualTo(2));
    }

    [TestCase("61", "none", 1)]
    [TestCase("7", "stream", 1)]
    [TestCase(null, "none", 4)]
    public async Task A_503_of_the_API_is_passed_on_when_waiting_is_of_no_use(string? retryAfter, string content, int calls)
    {
        using var toApi = new Interceptor(new SocketsHttpHandler(), clock);
        using var http = Calling(Credentials(), api.Address, toApi);
        for (var attempt = 0; attempt < 5; attempt++)
            toApi.AnswerInstead(503, retryAfter);
        using var request = new HttpRequestMessage(HttpMethod.Get, "/") { Content = Content(content) };
        var call = http.SendAsync(request);

        for (var attempt = 1; attempt < calls; attempt++)
        {
            await CallerWaitsAsync();
            clock.Advance(WaitAfter(attempt));
        }

        using var response = await call.WaitAsync(Limit);
        Assert.That(response.StatusCode, Is.EqualTo(HttpStatusCode.ServiceUnavailable));
        Assert.That(toApi.RequestTimes, Has.Count.EqualTo(calls));
    }

    [Test]
    public async Task The_caller_gives_up_after_three_waits()
    {
        for (var attempt = 0; attempt < 5; attempt++)
            interceptor.AnswerInstead(503, retryAfter: null);
        var token = Credentials().GetTokenAsync();

        for (var attempt = 1; attempt < 4; attempt++)
        {
            await CallerWaitsAsync();
            clock.Advance(WaitAfter(attempt));
        }

        Assert.That(
            async () => await token.WaitAsync(Limit),
            Throws.TypeOf<TokenRequestException>().With.Message.StartsWith("No token: 503 "));
        Assert.That(interceptor.RequestTimes, Has.Count.EqualTo(4));
    }

    // The client is throttled to one token a minute.
    [Test]
    public async Task The_caller_waits_for_as_long_as_a_throttled_client_must()
    {
        var hasty = await Database.CreateClientAsync("hasty");
        await Database.ExecuteAsync("update token_service.client set tokens_per_minute = 1 where id = 'hasty'");
        await Server.HasReceivedNotificationsAsync();
        await Credentials(hasty).GetTokenAsync();
        var token = Credentials(hasty).GetTokenAsync();

        await CallerWaitsAsync();
        foreach (var time in new[] { Server.Clock, clock })
            time.Advance(TimeSpan.FromSeconds(75));

        Assert.That(await token.WaitAsync(Limit), Does.StartWith("eyJ"));
        Assert.That(interceptor.RequestTimes, Has.Count.EqualTo(3));
    }

    [Test]
    public async Task The_caller_sends_no_token_request_until_a_long_Retry_After_has_passed()
    {
        interceptor.AnswerInstead(429, "61");
        var credentials = Credentials();

        for (var call = 0; call < 5; call++)
        {
            Assert.That(
                async () => await credentials.GetTokenAsync().WaitAsync(Limit),
                Throws.TypeOf<TokenRequestException>().With.Message.StartsWith("No token: 429 "));
        }

        clock.Advance(TimeSpan.FromSeconds(61) - TimeSpan.FromMilliseconds(1));
        Assert.That(async () => await credentials.GetTokenAsync(), Throws.TypeOf<TokenRequestException>());
        Assert.That(interceptor.RequestTimes, Has.Count.EqualTo(1));
        clock.Advance(TimeSpan.FromSeconds(61 * 0.25) + TimeSpan.FromMilliseconds(1));
        Assert.That(await credentials.GetTokenAsync(), Does.StartWith("eyJ"));
    }

    [Test]
    public async Task A_live_token_is_used_while_it_cannot_be_renewed()
    {
        var credentials = Credentials();
        var start = clock.GetUtcNow();
        var first = await credentials.GetTokenAsync();
        for (var attempt = 0; attempt < 4; attempt++)
            interceptor.AnswerInstead(503, retryAfter: null);

        At(start, percent: 80);
        for (var attempt = 1; attempt < 4; attempt++)
        {
            Assert.That(await credentials.GetTokenAsync(), Is.EqualTo(first));
            await CallerWaitsAsync();
            clock.Advance(WaitAfter(attempt));
        }

        await Soon.IsAsync("the last attempt was made", () => interceptor.RequestTimes.Count == 5);
        Assert.That(await credentials.GetTokenAsync(), Is.EqualTo(first));
        await Soon.IsAsync("the token is renewed when that is possible again", async () =>
        {
            clock.Advance(TimeSpan.FromSeconds(1));
            return await credentials.GetTokenAsync() != first;
        });
        Assert.That(
            clock.GetUtcNow(), Is.LessThan(start + TimeSpan.FromSeconds(Lifetime)), "the first token is still alive");
    }

    [Test]
    public async Task A_cancelled_call_does_not_cancel_the_token_request_that_other_calls_wait_for()
    {
        interceptor.AnswerInstead(503, "5");
        var credentials = Credentials();
        using var patience = new CancellationTokenSource();
        var impatient = credentials.GetTokenAsync(patience.Token);
        var patient = credentials.GetTokenAsync(CancellationToken.None);

        await CallerWaitsAsync();
        await patience.CancelAsync();
        Assert.That(async () => await impatient.WaitAsync(Limit), Throws.InstanceOf<OperationCanceledException>());
        clock.Advance(TimeSpan.FromSeconds(6.25));

        Assert.That(await patient.WaitAsync(Limit), Does.StartWith("eyJ"));
        Assert.That(interceptor.RequestTimes, Has.Count.EqualTo(2));
    }

    [Test]
    public async Task The_exception_shows_the_error_of_the_server_and_no_secret()
    {
        const string wrong = "not the secret";
        var credentials = Credentials(Client with { Secret = wrong });

        var error = (await Assert.ThrowsAsync<TokenRequestException>(() => credentials.GetTokenAsync()))!;
        await Assert.ThrowsAsync<TokenRequestException>(() => credentials.GetTokenAsync());

        using (Assert.EnterMultipleScope())
        {
            Assert.That(error.Message, Does.Match(
                "^No token: 401 invalid_client: Client authentication failed\\. .+ \\(Request-Id: .+\\)$"));
            Assert.That($"{error}", Does.Not.Contain(wrong).And.Not.Contain(TokenRequestBuilder.Base64("billing:not+the+secret")));
            Assert.That(interceptor.RequestTimes, Has.Count.EqualTo(1), "two calls send one token request");
        }
    }

    [Test, Rfc(8707, "2")]
    public async Task The_caller_sends_the_resource_parameter()
    {
        var known = await Credentials(Client, interceptor, "https://api.example.com").GetTokenAsync();
        var unknown = Credentials(Client, interceptor, "https://ledger.example.com");

        using (Assert.EnterMultipleScope())
        {
            Assert.That(known, Does.StartWith("eyJ"));
            Assert.That(
                async () => await unknown.GetTokenAsync().WaitAsync(Limit),
                Throws.TypeOf<TokenRequestException>().With.Message.StartsWith("No token: 400 invalid_target: "));
        }
    }

    [Test]
    public void The_caller_sends_a_token_only_to_its_own_API()
    {
        using var http = Calling(Credentials());

        Assert.That(
            async () => await http.GetAsync(new Uri("http://127.0.0.2:1/")),
            Throws.InvalidOperationException.With.Message.StartsWith($"The token is for {api.Address}"));
        Assert.That(interceptor.RequestTimes, Is.Empty);
    }

    [Test]
    public void The_caller_refuses_a_token_endpoint_without_TLS()
    {
        using var http = new HttpClient();

        Assert.That(
            () => new ClientCredentials(
                http, new Uri("http://tokens.example.com/token"), new ClientSecret(Client.Id, Client.Secret)),
            Throws.ArgumentException);
    }

    [Test]
    public async Task The_program_calls_the_API_of_the_ASP_NET_Core_example()
    {
        await using var database = await Database.CreateAsync();
        var client = await database.CreateClientAsync("billing");
        await using var server = await TestServer.StartAtItsIssuerAsync(database);
        await using var example = await ExampleApi.StartAsync(server.Address.OriginalString);

        var ended = await RunProgramAsync(server, example, [], ("ClientSecret", client.Secret));

        using (Assert.EnterMultipleScope())
        {
            Assert.That(ended.ExitCode, Is.Zero, ended.Error);
            Assert.That(ended.Output, Does.Contain("The invoices, for billing"));
            Assert.That(ended.Output + ended.Error, Does.Not.Contain(client.Secret).And.Not.Contain("eyJ"));
        }
    }

    // The server and the API each demand a nonce, and the API accepts no token that is not bound.
    [Test, Rfc(9449, "7")]
    public async Task The_program_calls_the_API_with_a_key_and_a_bound_token_and_no_secret()
    {
        await using var database = await Database.CreateAsync();
        await using var server = await TestServer.StartAtItsIssuerAsync(database, "Dpop:Nonce=Required");
        await using var example = await ExampleApi.StartAsync(
            server.Address.OriginalString,
            settings: ["--Dpop:Require=true", $"--Dpop:NonceKey={Convert.ToBase64String(RandomNumberGenerator.GetBytes(32))}"]);
        var folder = Directory.CreateTempSubdirectory();
        var file = Path.Combine(folder.FullName, "billing.jwk");
        var made = await Tool.TokenServiceAsync(["client-key", "new", file]);
        await database.ExecuteAsync(
            """
            select token_service.create_client(
                'billing', 'Billing', 'https://api.example.com', '{invoices:read}', '{}', '{private_key_jwt}');
            select token_service.add_key('billing', token_service.read_jwk(@jwk));
            """,
            new { jwk = made.Value("public_jwk") });

        var ended = await RunProgramAsync(
            server, example, ["--ClientKey", file, "--Issuer", server.Address.OriginalString.TrimEnd('/'), "--Dpop", "true"]);
        folder.Delete(recursive: true);

        using (Assert.EnterMultipleScope())
        {
            Assert.That(ended.ExitCode, Is.Zero, ended.Error);
            Assert.That(ended.Output, Does.Contain("The invoices, for billing"));
            Assert.That(ended.Output + ended.Error, Does.Not.Contain("eyJ"));
        }
    }

    private static Task<Tool> RunProgramAsync(
        TestServer server, ExampleApi example, string[] settings, params (string Name, string Value)[] environment) => Tool.RunAsync(
        "dotnet",
        [
            Path.Combine(AppContext.BaseDirectory, "Examples.Caller.dll"),
            "--TokenEndpoint", $"{server.Address}token", "--ClientId", "billing", "--Api", $"{example.Address}", .. settings,
        ],
        environment: environment);

    private ClientCredentials Credentials() => Credentials(Client, interceptor);

    private ClientCredentials Credentials(TestClient client) => Credentials(client, interceptor);

    private ClientCredentials Credentials(Interceptor interceptor) => Credentials(Client, interceptor);

    private ClientCredentials Credentials(TestClient client, Interceptor interceptor, string? resource = null) => new(
        new HttpClient(interceptor, disposeHandler: false), new Uri($"{TestServer.Issuer}/token"),
        new ClientSecret(client.Id, client.Secret), "invoices:read", resource, clock: clock);

    private HttpClient Calling(ClientCredentials credentials) =>
        Calling(credentials, api.Address, new SocketsHttpHandler { MaxConnectionsPerServer = 50 });

    private static HttpClient Calling(ClientCredentials credentials, Uri address, HttpMessageHandler inner) =>
        new(new ClientCredentialsHandler(credentials, address) { InnerHandler = inner }) { BaseAddress = address };

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

    // The longest wait without Retry-After: one, two and four seconds, and a quarter more.
    private static TimeSpan WaitAfter(int attempt) => TimeSpan.FromSeconds((1 << (attempt - 1)) * 1.25);

    private Task CallerWaitsAsync() => Soon.IsAsync("the caller waits", () => clock.Timers == 1);

    /// <summary>
    /// A handler in front of a server that counts requests and can answer some itself, as a proxy would.
    /// </summary>
    private sealed class Interceptor(HttpMessageHandler inner, FakeClock clock) : DelegatingHandler(inner)
    {
        private readonly ConcurrentQueue<(int Status, string? RetryAfter)> instead = new();

        public Interceptor(TestServer server, FakeClock clock)
            : this(server.NewHandler(), clock)
        {
        }

        public ConcurrentQueue<DateTimeOffset> RequestTimes { get; } = new();

        /// <summary>The interceptor answers one more request with this status, and does not forward it.</summary>
        public void AnswerInstead(int status, string? retryAfter) => instead.Enqueue((status, retryAfter));

        protected override Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
        {
            RequestTimes.Enqueue(clock.GetUtcNow());
            if (!instead.TryDequeue(out var answer))
                return base.SendAsync(request, cancellationToken);

            var response = new HttpResponseMessage((HttpStatusCode)answer.Status) { Content = new StringContent("<html>") };
            if (answer.RetryAfter is { } wait)
                response.Headers.RetryAfter = RetryConditionHeaderValue.Parse(wait);
            return Task.FromResult(response);
        }
    }
}
