using System.Buffers.Binary;
using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;
using Examples;
using Microsoft.Extensions.DependencyInjection;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Examples;

/// <summary>Nonces of scripts/examples/aspnetcore-api, with a fake clock for each replica of the API.</summary>
[TestFixture, Rfc(9449, "9")]
public sealed class AspNetCoreApiDpopNonces : BoundTokenFixture
{
    private const string Audience = "https://api.example.com";
    private const string Metadata = $"resource_metadata=\"{Audience}/.well-known/oauth-protected-resource\"";

    private static readonly string NonceKey = Convert.ToBase64String(SHA256.HashData("the nonces of the tests"u8));

    private static readonly TimeSpan Minute = TimeSpan.FromMinutes(1);

    private FakeClock clock = null!;
    private ProtectedApi api = null!;

    [SetUp]
    public async Task StartApi()
    {
        // At the start of a minute.
        clock = new FakeClock(DateTimeOffset.FromUnixTimeSeconds(DateTimeOffset.UtcNow.ToUnixTimeSeconds() / 60 * 60));
        api = await StartAsync(clock);
    }

    [TearDown]
    public async Task StopApi() => await (api?.DisposeAsync() ?? ValueTask.CompletedTask);

    [Test, Rfc(9449, "9b")]
    public async Task A_proof_without_a_nonce_is_answered_with_one_and_then_accepted()
    {
        var nonce = await NonceAsync(api);

        var answer = await SendAsync(api, Proof(api, nonce).Signed());

        using (Assert.EnterMultipleScope())
        {
            Assert.That(nonce, Does.Match("^[A-Za-z0-9_-]{32}$"));
            Assert.That(answer.Status, Is.EqualTo(200));
            Assert.That(answer.Headers["DPoP-Nonce"], Is.EqualTo(nonce), "of the same minute");
        }
    }

    [Test, Rfc(9449, "8.2")]
    public async Task An_answer_of_success_brings_the_nonce_of_its_minute()
    {
        var first = await NonceAsync(api);
        clock.Advance(Minute);

        var second = (await SendAsync(api, Proof(api, first).Signed())).Headers["DPoP-Nonce"];

        Assert.That(second, Is.Not.EqualTo(first));
        Assert.That((await SendAsync(api, Proof(api, second).Signed())).Status, Is.EqualTo(200));
    }

    [Test]
    public async Task An_answer_of_no_success_brings_none()
    {
        var proof = Proof(api, await NonceAsync(api)).With("htu", new Uri(api.Address, "/nothing").OriginalString).Signed();

        var answer = await api.GetAsync($"DPoP {Token}", "nothing", proof);

        Assert.That((answer.Status, answer.Headers.ContainsKey("DPoP-Nonce")), Is.EqualTo((404, false)));
    }

    [Test, Rfc(9449, "8f")]
    public async Task A_nonce_is_good_for_two_to_three_minutes()
    {
        var nonce = await NonceAsync(api);

        clock.Advance(3 * Minute - TimeSpan.FromSeconds(1));
        Assert.That((await SendAsync(api, Proof(api, nonce).Signed())).Status, Is.EqualTo(200));

        clock.Advance(TimeSpan.FromSeconds(1));
        await IsChallengedForAsync(nonce);
    }

    [Test, Rfc(9449, "8f")]
    public async Task A_nonce_of_a_replica_is_good_at_another_whose_clock_is_up_to_a_minute_behind([Values(1, 2)] int minutes)
    {
        await using var ahead = await StartAsync(new FakeClock(clock.GetUtcNow() + minutes * Minute));
        var nonce = await NonceAsync(ahead);

        if (minutes == 1)
            Assert.That((await SendAsync(api, Proof(api, nonce).Signed())).Status, Is.EqualTo(200));
        else
            await IsChallengedForAsync(nonce);
    }

    [Test]
    public async Task A_nonce_with_any_character_changed_is_no_nonce()
    {
        var nonce = await NonceAsync(api);
        for (var at = 0; at < nonce.Length; at++)
            await IsChallengedForAsync(nonce[..at] + (nonce[at] == 'A' ? 'B' : 'A') + nonce[(at + 1)..]);
    }

    [Test]
    public async Task A_nonce_of_another_form_is_no_nonce(
        [Values("", "x", "....", "AAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")] string nonce) => await IsChallengedForAsync(nonce);

    [Test]
    public async Task A_nonce_of_an_API_with_another_key_is_no_nonce()
    {
        await using var other = await StartAsync(clock, nonceKey: Convert.ToBase64String(new byte[32]));

        await IsChallengedForAsync(await NonceAsync(other));
    }

    [Test]
    public async Task A_nonce_of_another_API_with_the_same_key_is_no_nonce()
    {
        var token = new Forgery(Token).WithClaim("aud", "https://ledger.example.com").SignedBy(await Forgery.KeyOfAsync(Server));
        await using var other = await StartAsync(clock, "https://ledger.example.com");

        var challenged = await other.GetAsync(
            $"DPoP {token}", proof: new ApiDpopProof(Key, other.Address.OriginalString, token, clock.GetUtcNow()).Signed());

        await IsChallengedForAsync(challenged.Headers["DPoP-Nonce"]);
    }

    // The server derives its nonces with another label, so they are other ones even under the same key.
    [Test, Rfc(9449, "9c")]
    public async Task A_nonce_of_the_authorization_server_is_no_nonce(
        [Values("dpop nonce, as", "dpop nonce, api", "")] string label)
    {
        var key = HKDF.DeriveKey(HashAlgorithmName.SHA256, Convert.FromBase64String(NonceKey), 32, info: Encoding.ASCII.GetBytes(label));
        var minute = new byte[8];
        BinaryPrimitives.WriteInt64BigEndian(minute, clock.GetUtcNow().ToUnixTimeSeconds() / 60);

        await IsChallengedForAsync(Base64Url.EncodeToString([.. minute, .. HMACSHA256.HashData(key, minute)[..16]]));
    }

    [Test, Rfc(9449, "8e")]
    public async Task With_a_good_nonce_iat_is_not_compared([Values(-86400, 86400)] int seconds)
    {
        var proof = Proof(api, await NonceAsync(api)).With("iat", clock.GetUtcNow().AddSeconds(seconds).ToUnixTimeSeconds());

        Assert.That((await SendAsync(api, proof.Signed())).Status, Is.EqualTo(200));
    }

    [TestCase("iat", null, "iat of the DPoP proof is not a time.")]
    [TestCase("exp", 1_000_000_000, "The DPoP proof has expired.")]
    [TestCase("nbf", 5_000_000_000, "The DPoP proof is not valid yet.")]
    public async Task With_a_good_nonce_the_other_times_still_count(string claim, long? value, string flaw)
    {
        var proof = Proof(api, await NonceAsync(api)).With(claim, value);

        IsRefused(await SendAsync(api, proof.Signed()), "invalid_dpop_proof", flaw);
    }

    // FAPI 2.0's conformance suite does not take use_dpop_nonce for an answer to this.
    [Test, Rfc(9449, "5f")]
    public async Task A_request_without_a_proof_is_told_so_and_gets_no_nonce() => IsRefused(
        await api.GetAsync($"DPoP {Token}"), "invalid_dpop_proof", "The request must have one DPoP header.");

    [Test]
    public async Task A_proof_with_another_flaw_gets_no_nonce()
    {
        using var other = ApiDpopKey.Create();

        IsRefused(await SendAsync(api, Proof(api, nonce: null).SignedBy(other.Sign)),
            "invalid_dpop_proof", "The signature of the DPoP proof is wrong.");
    }

    // The nonce is good until the clock reaches the fourth minute.
    [Test, Rfc(9449, "11.1")]
    public async Task A_proof_with_a_nonce_is_remembered_for_as_long_as_the_nonce_is_good()
    {
        await using var ahead = await StartAsync(new FakeClock(clock.GetUtcNow() + Minute));
        var nonce = await NonceAsync(ahead);
        var proof = Proof(api, nonce).Signed();
        Assert.That((await SendAsync(api, proof)).Status, Is.EqualTo(200));

        for (var second = 30; second < 240; second += 30)
        {
            clock.Advance(TimeSpan.FromSeconds(30));
            IsRefused(await SendAsync(api, proof), "invalid_dpop_proof", "The DPoP proof was used before.");
        }

        clock.Advance(TimeSpan.FromSeconds(30));
        await IsChallengedForAsync(nonce);
    }

    private Task<ProtectedApi> StartAsync(FakeClock clock, string audience = Audience, string? nonceKey = null) => ProtectedApi.StartAsync(
        Server.Address.GetLeftPart(UriPartial.Authority), Server.NewHandler(), audience,
        configureServices: services =>
        {
            DpopAuthentication.Accept(services.AddSingleton<TimeProvider>(clock));
            services.Configure<DpopOptions>(options => options.NonceKey = nonceKey ?? NonceKey);
        });

    private ApiDpopProof Proof(ProtectedApi target, string? nonce)
    {
        var proof = new ApiDpopProof(Key, target.Address.OriginalString, Token, clock.GetUtcNow());
        return nonce is null ? proof : proof.With("nonce", nonce);
    }

    private Task<Answer> SendAsync(ProtectedApi target, string proof) => target.GetAsync($"DPoP {Token}", proof: proof);

    private async Task<string> NonceAsync(ProtectedApi target)
    {
        var answer = await SendAsync(target, Proof(target, nonce: null).Signed());
        var nonce = answer.Headers["DPoP-Nonce"];
        IsAskedForNonce(answer, nonce);
        return nonce;
    }

    private async Task IsChallengedForAsync(string nonce)
    {
        var answer = await SendAsync(api, Proof(api, nonce).Signed());
        IsAskedForNonce(answer, answer.Headers["DPoP-Nonce"]);
        Assert.That(answer.Headers["DPoP-Nonce"], Is.Not.EqualTo(nonce));
    }

    private static void IsAskedForNonce(Answer answer, string nonce) =>
        IsChallenged(answer, 401, Challenge("use_dpop_nonce", "The DPoP proof needs the nonce in DPoP-Nonce."), nonce);

    private static void IsRefused(Answer answer, string error, string description) =>
        IsChallenged(answer, 401, Challenge(error, description));

    private static string Challenge(string error, string description) =>
        $"DPoP error=\"{error}\", error_description=\"{description}\", algs=\"ES256 ES384 PS256\", {Metadata}, Bearer {Metadata}";
}
