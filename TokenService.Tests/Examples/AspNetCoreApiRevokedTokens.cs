using System.Net;
using System.Security.Cryptography;
using Examples;
using Microsoft.Extensions.DependencyInjection;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Examples;

/// <summary>Tests RevokedTokens.cs of scripts/examples/aspnetcore-api with a fake clock.</summary>
[TestFixture]
public sealed class AspNetCoreApiRevokedTokens
{
    private static readonly TimeSpan Minute = TimeSpan.FromMinutes(1);
    private static readonly TimeSpan Second = TimeSpan.FromSeconds(1);

    private Database database = null!;
    private TestServer server = null!;
    private TestClient client = null!;
    private FakeClock clock = null!;
    private ListInterceptor interceptor = null!;
    private ProtectedApi api = null!;

    [SetUp]
    public async Task StartBoth()
    {
        database = await Database.CreateAsync();
        client = await database.CreateClientAsync("billing");
        server = await TestServer.StartAsync(database);
        clock = new FakeClock(server.Clock.GetUtcNow());
        interceptor = new ListInterceptor(server.NewHandler());
        api = await StartApiAsync(clock);
    }

    [TearDown]
    public async Task StopBoth()
    {
        await (api?.DisposeAsync() ?? ValueTask.CompletedTask);
        interceptor?.Dispose();
        await (server?.DisposeAsync() ?? ValueTask.CompletedTask);
        await (database?.DisposeAsync() ?? ValueTask.CompletedTask);
    }

    [Test, Rfc(7009, "2")]
    public async Task The_API_refuses_a_revoked_token_within_a_minute_and_no_other_token()
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
    public async Task The_API_refuses_a_revoked_token_for_as_long_as_its_clock_skew_accepts_others()
    {
        var (revoked, other) = (await IssueAsync(), await IssueAsync());
        await RevokeAsync(revoked);

        await FetchAgainAfterAsync(15 * Minute);
        Assert.That((await StatusAsync(revoked), await StatusAsync(other)), Is.EqualTo((401, 200)));

        await AdvanceAsync(Second);
        Assert.That(await StatusAsync(other), Is.EqualTo(401));
    }

    [Test]
    public async Task The_API_refuses_all_revoked_tokens_of_a_client_within_a_minute_and_no_others()
    {
        var other = await database.CreateClientAsync("ledger");
        var (dead, alive) = (await IssueAsync(), await IssueAsync(other));
        Assert.That(await StatusAsync(dead), Is.EqualTo(200));

        await RevokeTokensOfClientAsync();
        await FetchAgainAfterAsync(Minute);

        using (Assert.EnterMultipleScope())
        {
            Assert.That(await StatusAsync(dead), Is.EqualTo(401));
            Assert.That(await StatusAsync(alive), Is.EqualTo(200));
        }
    }

    [Test]
    public async Task The_API_accepts_a_token_issued_after_the_tokens_of_its_client_were_revoked()
    {
        await RevokeTokensOfClientAsync();
        await FetchAgainAfterAsync(Minute);

        Assert.That(await StatusAsync(await IssueAsync()), Is.EqualTo(200));
    }

    [Test]
    public async Task The_API_uses_a_list_until_it_expires_and_then_answers_503()
    {
        var token = await IssueAsync();
        interceptor.Replacement = _ => null;
        await FetchAgainAfterAsync(Minute);
        await AdvanceAsync(4 * Minute - Second);
        Assert.That(await StatusAsync(token), Is.EqualTo(200));

        await AdvanceAsync(Second);
        var answer = await api.GetAsync($"Bearer {token}");
        interceptor.Replacement = null;
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
    public async Task The_API_answers_503_while_it_has_no_first_list()
    {
        var token = await IssueAsync();
        interceptor.Replacement = _ => null;
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
    public async Task A_bad_list_does_not_replace_a_good_one(string kind)
    {
        using var strangers = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var ours = await Forgery.KeyOfAsync(server);
        var token = await IssueAsync();
        var empty = await server.Client.GetStringAsync(new Uri("/revoked-tokens", UriKind.Relative));
        await RevokeAsync(token);
        await FetchAgainAfterAsync(Minute);
        Assert.That(await StatusAsync(token), Is.EqualTo(401));

        var list = new Forgery(empty);
        interceptor.Replacement = _ => kind switch
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

        // The same list without the flaw is accepted, so only the flaw was the cause.
        interceptor.Replacement = _ => new Forgery(empty).SignedBy(ours);
        await FetchAgainAfterAsync(5 * Second);
        Assert.That(await StatusAsync(token), Is.EqualTo(200));
    }

    private Task<ProtectedApi> StartApiAsync(FakeClock clock) => ProtectedApi.StartAsync(
        TestServer.Issuer, interceptor,
        // JwtBearer compares a token's dates with the real time, even with another TimeProvider, so this delegate
        // compares them.
        configure: options => options.TokenValidationParameters.LifetimeValidator =
            (_, expires, _, parameters) => clock.GetUtcNow() <= expires + parameters.ClockSkew,
        configureServices: services => RevokedTokens.Refuse(services.AddSingleton<TimeProvider>(clock)));

    private Task<string> IssueAsync() => IssueAsync(client);

    private async Task<string> IssueAsync(TestClient client) =>
        (await TokenRequestBuilder.For(client).SendAsync(server)).Token.EncodedToken;

    private async Task<int> StatusAsync(string token) => (await api.GetAsync($"Bearer {token}")).Status;

    private async Task RevokeAsync(string token)
    {
        var answer = await TokenRequestBuilder.For(client).WithPath("/revoke").With("token", token).SendAsync(server);
        Assert.That(answer.Status, Is.EqualTo(200));
    }

    // The server's clock is ahead of the database's, so the instant is passed.
    private Task RevokeTokensOfClientAsync() =>
        database.ExecuteAsync("select token_service.end_tokens_of('billing', @now)", new { now = server.Clock.GetUtcNow().UtcDateTime });

    private async Task FetchAgainAfterAsync(TimeSpan time)
    {
        var fetchCount = interceptor.FetchCount;
        await AdvanceAsync(time);
        Assert.That(interceptor.FetchCount, Is.GreaterThan(fetchCount));
    }

    // The server's clock advances first, so a list that the API fetches meanwhile is from the end of that time.
    private async Task AdvanceAsync(TimeSpan time)
    {
        await ApiSleepsAsync();
        server.Clock.Advance(time);
        clock.Advance(time);
        await ApiSleepsAsync();
    }

    // The only timer on the API's clock is the wait between two fetches. Once it runs, the API has read the list it
    // fetched.
    private Task ApiSleepsAsync() => Soon.IsAsync("the API sleeps", () => clock.Timers == 1);

    /// <summary>A handler in front of the server that can replace the list of revoked tokens.</summary>
    private sealed class ListInterceptor(HttpMessageHandler inner) : DelegatingHandler(inner)
    {
        private int fetchCount;

        public int FetchCount => Volatile.Read(ref fetchCount);

        /// <summary>Returns the list to answer with, or null for no answer. If unset, the server answers.</summary>
        public Func<Uri, string?>? Replacement { get; set; }

        protected override async Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
        {
            if (request.RequestUri!.AbsolutePath != "/revoked-tokens")
                return await base.SendAsync(request, cancellationToken);
            Interlocked.Increment(ref fetchCount);
            if (Replacement is not { } replacement)
                return await base.SendAsync(request, cancellationToken);
            return replacement(request.RequestUri) is { } list
                ? new HttpResponseMessage(HttpStatusCode.OK) { Content = new StringContent(list) }
                : throw new HttpRequestException("The interceptor lets no list through.");
        }
    }
}
