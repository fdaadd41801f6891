using System.Text.Json.Nodes;
using Examples;
using Microsoft.AspNetCore.Authentication.JwtBearer;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Examples;

/// <summary>
/// Tests Dpop/ of scripts/examples/aspnetcore-api with a fake clock: when a proof is good, and how often.
/// </summary>
[TestFixture, Rfc(9449, "4.3d")]
public sealed class AspNetCoreApiDpopTimes : BoundTokenFixture
{
    private const string Early = "iat of the DPoP proof is not within 60 seconds before and 30 seconds after the time of this API.";

    private FakeClock clock = null!;
    private ProtectedApi api = null!;

    [SetUp]
    public async Task StartApi()
    {
        clock = new FakeClock();
        api = await ProtectedApi.StartAsync(
            Server.Address.GetLeftPart(UriPartial.Authority), Server.NewHandler(),
            configureServices: services => DpopAuthentication.Accept(services.AddSingleton<TimeProvider>(clock)));
    }

    [TearDown]
    public async Task StopApi() => await (api?.DisposeAsync() ?? ValueTask.CompletedTask);

    [TestCase("iat", -60, null)]
    [TestCase("iat", -61, Early)]
    [TestCase("iat", 30, null)]
    [TestCase("iat", 31, Early)]
    [TestCase("nbf", 30, null)]
    [TestCase("nbf", 31, "The DPoP proof is not valid yet.")]
    [TestCase("exp", -29, null)]
    [TestCase("exp", -30, "The DPoP proof has expired.")]
    [Rfc(9449, "4.3k"), Rfc(9449, "4.2c")]
    public async Task A_proof_is_good_from_60_seconds_ago_until_30_seconds_ahead(string claim, int seconds, string? flaw)
    {
        var answer = await SendAsync(Proof().With(claim, clock.GetUtcNow().AddSeconds(seconds).ToUnixTimeSeconds()).Signed());

        IsAnswered(answer, flaw);
    }

    // The proof could be accepted for 90 seconds, and other proofs come in between.
    [Test, Rfc(9449, "11.1")]
    public async Task A_proof_is_remembered_until_its_time_alone_refuses_it([Values(0, 1, 45, 89)] int secondsBefore)
    {
        await SendAsync(Proof().Signed());
        clock.Advance(TimeSpan.FromSeconds(secondsBefore));
        var proof = Proof().With("iat", clock.GetUtcNow().AddSeconds(30).ToUnixTimeSeconds()).Signed();
        IsAnswered(await SendAsync(proof), flaw: null);

        for (var second = 1; second <= 90; second++)
        {
            clock.Advance(TimeSpan.FromSeconds(1));
            if (second % 9 == 0)
                IsAnswered(await SendAsync(Proof().Signed()), flaw: null);
            if (second % 15 == 0)
                IsAnswered(await SendAsync(proof), "The DPoP proof was used before.");
        }

        clock.Advance(TimeSpan.FromSeconds(1));
        IsAnswered(await SendAsync(proof), Early);
    }

    [Test, Rfc(9449, "11.1")]
    public async Task Of_a_proof_sent_many_times_at_once_one_is_accepted()
    {
        var proof = Proof().Signed();

        var answers = await Task.WhenAll(Enumerable.Range(0, 20).Select(_ => SendAsync(proof)));

        Assert.That(answers.Count(answer => answer.Status == 200), Is.EqualTo(1));
    }

    [Test, Rfc(9449, "11.1")]
    public void The_memory_of_proofs_is_bounded_and_a_warning_says_when_that_was_too_little()
    {
        var log = new CapturedLog();
        using var loggers = LoggerFactory.Create(logging => logging.AddProvider(log));
        var memory = new ProofMemory(
            Options.Create(new DpopOptions { MaxRememberedProofs = 1000 }), clock, loggers.CreateLogger<ProofMemory>());

        for (var id = 0; id < 1000; id++)
            Assert.That(memory.IsFirst(Key.Thumbprint, $"{id}"), Is.True);

        using (Assert.EnterMultipleScope())
        {
            Assert.That(log.Lines, Has.One.Contains("The memory of DPoP proofs was full after 0 seconds"));
            Assert.That(memory.IsFirst(Key.Thumbprint, "999"), Is.False);
            Assert.That(memory.IsFirst(Key.Thumbprint, "500"), Is.False);
            Assert.That(memory.IsFirst(Key.Thumbprint, "499"), Is.True, "The older half is forgotten.");
        }
    }

    [Test]
    public async Task The_order_of_this_and_of_the_list_of_revoked_tokens_does_not_matter([Values] bool listFirst)
    {
        var issued = await IssueAsync();
        var revoked = BoundBy(new JsonObject { ["jkt"] = Key.Thumbprint }, issued);
        await TokenRequestBuilder.For(Client).WithPath("/revoke").With("token", issued).SendAsync(Server);
        Server.Clock.Advance(TimeSpan.FromSeconds(5));
        await using var both = await ProtectedApi.StartAsync(
            Server.Address.GetLeftPart(UriPartial.Authority), Server.NewHandler(),
            configureServices: services =>
            {
                services.AddSingleton<TimeProvider>(clock);
                if (listFirst)
                    RevokedTokens.Refuse(services);
                DpopAuthentication.Accept(services);
                if (!listFirst)
                    RevokedTokens.Refuse(services);
            });
        Task<Answer> SendToBothAsync(string token, string proof) => both.GetAsync($"DPoP {token}", proof: proof);
        ApiDpopProof ProofFor(string token) => new(Key, both.Address.OriginalString, token, clock.GetUtcNow());
        var proof = ProofFor(Token).Signed();

        using (Assert.EnterMultipleScope())
        {
            Assert.That((await SendToBothAsync(Token, proof)).Status, Is.EqualTo(200));
            IsAnswered(await SendToBothAsync(Token, proof), "The DPoP proof was used before.");
            Assert.That((await SendToBothAsync(revoked, ProofFor(revoked).Signed())).Status, Is.EqualTo(401));
        }
    }

    [Test]
    public void Events_that_would_leave_out_the_check_are_refused([Values] bool byType)
    {
        var services = new ServiceCollection().AddSingleton<IConfiguration>(new ConfigurationManager());
        services.AddAuthentication().AddJwtBearer(options => options.EventsType = byType ? typeof(JwtBearerEvents) : null);
        DpopAuthentication.Accept(services);
        if (!byType)
            services.PostConfigureAll<JwtBearerOptions>(options => options.Events = new JwtBearerEvents());
        using var provider = services.BuildServiceProvider();

        Assert.That(
            () => provider.GetRequiredService<IOptionsMonitor<JwtBearerOptions>>().Get(JwtBearerDefaults.AuthenticationScheme),
            Throws.TypeOf<OptionsValidationException>().With.Message.Contains("DPoP needs JwtBearerOptions.Events."));
    }

    // The API's own event would otherwise accept what the check refuses.
    [Test]
    public async Task The_check_comes_before_the_events_of_the_API()
    {
        var own = new OwnEvents();
        await using var api = await ProtectedApi.StartAsync(
            Server.Address.GetLeftPart(UriPartial.Authority), Server.NewHandler(), configure: options => options.Events = own,
            configureServices: services => DpopAuthentication.Accept(services.AddSingleton<TimeProvider>(clock)));

        IsAnswered(await api.GetAsync($"DPoP {Token}"), "The request must have one DPoP header.");
        var answer = await api.GetAsync(
            $"DPoP {Token}", proof: new ApiDpopProof(Key, api.Address.OriginalString, Token, clock.GetUtcNow()).Signed());

        Assert.That((answer.Status, own.ValidatedCount), Is.EqualTo((200, 1)));
    }

    private ApiDpopProof Proof() => new(Key, api.Address.OriginalString, Token, clock.GetUtcNow());

    private Task<Answer> SendAsync(string proof) => api.GetAsync($"DPoP {Token}", proof: proof);

    private static void IsAnswered(Answer answer, string? flaw)
    {
        if (flaw is null)
            Assert.That(answer.Status, Is.EqualTo(200), answer.Headers.GetValueOrDefault("WWW-Authenticate", ""));
        else
            IsChallenged(
                answer, 401, $"DPoP error=\"invalid_dpop_proof\", error_description=\"{flaw}\", algs=\"ES256 ES384 PS256\", "
                    + "resource_metadata=\"https://api.example.com/.well-known/oauth-protected-resource\", "
                    + "Bearer resource_metadata=\"https://api.example.com/.well-known/oauth-protected-resource\"");
    }

    private sealed class OwnEvents : JwtBearerEvents
    {
        public int ValidatedCount { get; private set; }

        public override Task TokenValidated(TokenValidatedContext context)
        {
            ValidatedCount++;
            context.Success();
            return Task.CompletedTask;
        }
    }
}
