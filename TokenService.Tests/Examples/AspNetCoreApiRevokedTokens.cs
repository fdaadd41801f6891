using System.Net;
using System.Security.Cryptography;
using Examples;
using Microsoft.Extensions.DependencyInjection;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Examples;

/// <summary>What RevokedTokens.cs of scripts/examples/aspnetcore-api refuses, in the time of a clock of its own.</summary>
[TestFixture]
public sealed class AspNetCoreApiRevokedTokens
{
    private static readonly TimeSpan Minute = TimeSpan.FromMinutes(1);
    private static readonly TimeSpan Second = TimeSpan.FromSeconds(1);

    private Database database = null!;
    private TestServer server = null!;
    private TestClient client = null!;
    private FakeClock clock = null!;
    private Way way = null!;
    private ProtectedApi api = null!;

    [SetUp]
    public async Task StartBoth()
    {
        database = await Database.CreateAsync();
        client = await database.CreateClientAsync("billing");
        server = await TestServer.StartAsync(database);
        clock = new FakeClock(server.Clock.GetUtcNow());
        way = new Way(server.NewHandler());
        api = await StartApiAsync(clock);
    }

    [TearDown]
    public async Task StopBoth()
    {
        await (api?.DisposeAsync() ?? ValueTask.CompletedTask);
        way?.Dispose();
        await (server?.DisposeAsync() ?? ValueTask.CompletedTask);
        await (database?.DisposeAsync() ?? ValueTask.CompletedTask);
    }

    [Test, Rfc(7009, "2")]
    public async Task A_revoked_token_is_refused_within_a_minute_and_no_other()
    {
        var (revoked, other) = (await IssueAsync(), await IssueAsync());
        Assert.That(await StatusAsync(revoked), Is.EqualTo(200));

        await RevokeAsync(revoked);
        await FetchAgainAfterAsync(Minute);

        var answer = await api.GetAsync($"Bearer {revoked}");
        using (Assert.EnterMultipleScope())
        {
            Assert.That(answer.Status, Is.EqualTo(401));
            Assert.That(answer.Headers["WWW-Authenticate"], Is.EqualTo("Bearer error=\"invalid_token\""));
            Assert.That(await StatusAsync(other), Is.EqualTo(200));
        }
    }

    // JwtBearer's ClockSkew is 5 minutes, unless it is told otherwise.
    [Test]
    public async Task A_revoked_token_that_has_expired_is_refused_for_as_long_as_others_are_taken()
    {
        var (revoked, other) = (await IssueAsync(), await IssueAsync());
        await RevokeAsync(revoked);

        await FetchAgainAfterAsync(15 * Minute);
        Assert.That((await StatusAsync(revoked), await StatusAsync(other)), Is.EqualTo((401, 200)));

        await AdvanceAsync(Second);
        Assert.That(await StatusAsync(other), Is.EqualTo(401));
    }

    [Test]
    public async Task The_ended_tokens_of_a_client_are_refused_within_a_minute_and_no_others()
    {
        var other = await database.CreateClientAsync("ledger");
        var (dead, alive) = (await IssueAsync(), await IssueAsync(other));
        Assert.That(await StatusAsync(dead), Is.EqualTo(200));

        await EndTokensAsync();
        await FetchAgainAfterAsync(Minute);

        using (Assert.EnterMultipleScope())
        {
            Assert.That(await StatusAsync(dead), Is.EqualTo(401));
            Assert.That(await StatusAsync(alive), Is.EqualTo(200));
        }
    }

    [Test]
    public async Task What_a_client_gets_after_its_tokens_were_ended_is_good()
    {
        await EndTokensAsync();
        await FetchAgainAfterAsync(Minute);

        Assert.That(await StatusAsync(await IssueAsync()), Is.EqualTo(200));
    }

    [Test]
    public async Task A_list_serves_until_it_expires_and_then_no_token_is_taken()
    {
        var token = await IssueAsync();
        way.Instead = _ => null;
        await FetchAgainAfterAsync(Minute);
        await AdvanceAsync(4 * Minute - Second);
        Assert.That(await StatusAsync(token), Is.EqualTo(200));

        await AdvanceAsync(Second);
        var answer = await api.GetAsync($"Bearer {token}");
        way.Instead = null;
        await FetchAgainAfterAsync(5 * Second);

        using (Assert.EnterMultipleScope())
        {
            Assert.That(answer.Status, Is.EqualTo(503));
            Assert.That(answer.Headers["Retry-After"], Is.EqualTo("5"));
            Assert.That(answer.Headers.ContainsKey("WWW-Authenticate"), Is.False);
            Assert.That(await StatusAsync(token), Is.EqualTo(200));
        }
    }

    [Test]
    public async Task Without_a_first_list_no_token_is_taken()
    {
        var token = await IssueAsync();
        way.Instead = _ => null;
        await using var late = await StartApiAsync(new FakeClock(clock.GetUtcNow()));

        Assert.That((await late.GetAsync($"Bearer {token}")).Status, Is.EqualTo(503));
    }

    [TestCase("no JWT")]
    [TestCase("signed by a stranger")]
    [TestCase("unsigned")]
    [TestCase("of another type")]
    [TestCase("of another issuer")]
    [TestCase("of another audience")]
    [TestCase("of no audience")]
    [TestCase("long expired")]
    [TestCase("that never expires")]
    [TestCase("without its contents")]
    public async Task A_bad_list_takes_the_place_of_no_good_one(string kind)
    {
        using var strangers = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var ours = await Forgery.KeyOfAsync(server);
        var token = await IssueAsync();
        var empty = await server.Client.GetStringAsync(new Uri("/revoked-tokens", UriKind.Relative));
        await RevokeAsync(token);
        await FetchAgainAfterAsync(Minute);
        Assert.That(await StatusAsync(token), Is.EqualTo(401));

        var list = new Forgery(empty);
        way.Instead = _ => kind switch
        {
            "no JWT" => "{}",
            "signed by a stranger" => list.SignedBy(strangers),
            "unsigned" => list.WithHeader("alg", "none").Unsigned(),
            "of another type" => list.WithHeader("typ", "at+jwt").SignedBy(ours),
            "of another issuer" => list.WithClaim("iss", "https://evil.example.com").SignedBy(ours),
            "of another audience" => list.WithClaim("aud", "https://api.example.com").SignedBy(ours),
            "of no audience" => list.WithoutClaim("aud").SignedBy(ours),
            "long expired" => list.WithClaim("exp", 1_000_000_000).SignedBy(ours),
            "that never expires" => list.WithoutClaim("exp").SignedBy(ours),
            _ => list.WithoutClaim("revoked").SignedBy(ours),
        };
        await FetchAgainAfterAsync(Minute);
        Assert.That(await StatusAsync(token), Is.EqualTo(401));

        // Nothing else was wrong with it.
        way.Instead = _ => new Forgery(empty).SignedBy(ours);
        await FetchAgainAfterAsync(5 * Second);
        Assert.That(await StatusAsync(token), Is.EqualTo(200));
    }

    private Task<ProtectedApi> StartApiAsync(FakeClock clock) => ProtectedApi.StartAsync(
        TestServer.Issuer, way,
        // JwtBearer judges a token's dates by the real time, whatever TimeProvider it has, unless somebody judges them for it.
        inItsTime: options => options.TokenValidationParameters.LifetimeValidator =
            (_, expires, _, parameters) => clock.GetUtcNow() <= expires + parameters.ClockSkew,
        and: services => RevokedTokens.Refuse(services.AddSingleton<TimeProvider>(clock)));

    private Task<string> IssueAsync() => IssueAsync(client);

    private async Task<string> IssueAsync(TestClient client) =>
        (await TokenRequestBuilder.For(client).SendAsync(server)).Token.EncodedToken;

    private async Task<int> StatusAsync(string token) => (await api.GetAsync($"Bearer {token}")).Status;

    private async Task RevokeAsync(string token)
    {
        var answer = await TokenRequestBuilder.For(client).WithPath("/revoke").With("token", token).SendAsync(server);
        Assert.That(answer.Status, Is.EqualTo(200));
    }

    // By the server's clock, which is ahead of the database's.
    private Task EndTokensAsync() =>
        database.ExecuteAsync("select token_service.end_tokens_of('billing', @now)", new { now = server.Clock.GetUtcNow().UtcDateTime });

    private async Task FetchAgainAfterAsync(TimeSpan time)
    {
        var fetched = way.Fetched;
        await AdvanceAsync(time);
        Assert.That(way.Fetched, Is.GreaterThan(fetched));
    }

    // The server is there first: what the API then fetches on its way is of the end of that time.
    private async Task AdvanceAsync(TimeSpan time)
    {
        await ApiSleepsAsync();
        server.Clock.Advance(time);
        clock.Advance(time);
        await ApiSleepsAsync();
    }

    // All that waits by its clock is the wait between two fetches. Until that begins, it might not have read what it fetched.
    private Task ApiSleepsAsync() => Soon.IsAsync("the API sleeps", () => clock.Timers == 1);

    /// <summary>The way to the server, on which the list may be another.</summary>
    private sealed class Way(HttpMessageHandler there) : DelegatingHandler(there)
    {
        private int fetched;

        public int Fetched => Volatile.Read(ref fetched);

        /// <summary>What comes instead of the list, null for nothing; or nothing comes instead.</summary>
        public Func<Uri, string?>? Instead { get; set; }

        protected override async Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
        {
            if (request.RequestUri!.AbsolutePath != "/revoked-tokens")
                return await base.SendAsync(request, cancellationToken);
            Interlocked.Increment(ref fetched);
            if (Instead is not { } instead)
                return await base.SendAsync(request, cancellationToken);
            return instead(request.RequestUri) is { } list
                ? new HttpResponseMessage(HttpStatusCode.OK) { Content = new StringContent(list) }
                : throw new HttpRequestException("The way is barred.");
        }
    }
}
