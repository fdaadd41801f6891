using System.Buffers.Text;
using TokenService.Protocol;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Rfc9449;

/// <summary>Nonces that every replica accepts, and none remembers.</summary>
[TestFixture, Rfc(9449, "8")]
public sealed class Nonces : ProofFixture
{
    private const string UseNonce = "The DPoP proof must have the nonce of the header DPoP-Nonce of this answer.";
    private const string OtherKey = "YW5vdGhlci1zZWFsaW5nLWtleS1vZi10ZXN0cy0tLTM=";

    private protected override string[] Settings => ["Dpop:Nonce=Required"];

    [Test, Rfc(9449, "8c"), Rfc(9449, "8b"), Rfc(9449, "8.2"), Rfc(9449, "11.3")]
    public async Task A_proof_without_a_nonce_is_answered_with_one_that_works()
    {
        var nonce = await ChallengeAsync(Proof(), Reason.DpopNonceMissing);

        var answer = await SendAsync(Proof().WithClaim("nonce", nonce));

        answer.IsGrant(tokenType: "DPoP", headers: ("DPoP-Nonce", nonce));
        (await SendAsync(Proof().WithClaim("nonce", answer.Headers["DPoP-Nonce"])))
            .IsGrant(tokenType: "DPoP", headers: ("DPoP-Nonce", nonce));
    }

    [Test, Rfc(9449, "8f")]
    public async Task Another_replica_accepts_the_nonce_also_under_another_sealing_key()
    {
        var nonce = await ChallengeAsync(Proof(), Reason.DpopNonceMissing);
        await using var other = await TestServer.StartAsync(
            Database.ConnectionString, Server.Clock, "Dpop:Nonce=Required", $"Keys:SealingKeys:newer={OtherKey}",
            "Keys:SealingKeyId=newer");

        var answer = await TokenRequestBuilder.For(Client).WithHeader("DPoP", Proof().WithClaim("nonce", nonce).Signed()).SendAsync(other);

        Assert.That(answer.Status, Is.EqualTo(200), answer.Body);
        Assert.That(answer.Headers["DPoP-Nonce"], Is.Not.EqualTo(nonce), "the nonce to use next comes from the new sealing key");
    }

    [Rfc(9449, "8f")]
    [TestCase(0, 0, true)]
    [TestCase(0, 179, true)]
    [TestCase(0, 180, false)]
    [TestCase(59, 120, true)]
    [TestCase(59, 121, false)]
    public async Task A_nonce_lives_two_to_three_minutes(int secondOfMinute, int age, bool isAccepted)
    {
        var clock = new FakeClock(DateTimeOffset.FromUnixTimeSeconds(((Server.Clock.GetUtcNow().ToUnixTimeSeconds() / 60) + 2) * 60));
        await using var server = await TestServer.StartAsync(Database.ConnectionString, clock, Settings);
        clock.Advance(TimeSpan.FromSeconds(secondOfMinute));
        var nonce = (await RequestAsync(null)).Headers["DPoP-Nonce"];

        clock.Advance(TimeSpan.FromSeconds(age));
        var answer = await RequestAsync(nonce);

        if (isAccepted)
            Assert.That(answer.Status, Is.EqualTo(200), answer.Body);
        else
            answer.IsError(400, "use_dpop_nonce", UseNonce, ("DPoP-Nonce", answer.Headers["DPoP-Nonce"]));

        Task<Answer> RequestAsync(string? nonce)
        {
            var proof = SignedJwt.Proof(clock.GetUtcNow(), $"{TestServer.Issuer}/token", Key);
            if (nonce is not null)
                proof.WithClaim("nonce", nonce);
            return TokenRequestBuilder.For(Client).WithHeader("DPoP", proof.Signed()).SendAsync(server);
        }
    }

    [Test, Rfc(9449, "8c")]
    public async Task A_replica_accepts_the_nonce_of_one_whose_clock_is_a_minute_ahead()
    {
        await using var ahead = await TestServer.StartAsync(
            Database.ConnectionString, new FakeClock(Server.Clock.GetUtcNow() + TimeSpan.FromMinutes(1)), Settings);
        var proof = SignedJwt.Proof(ahead, Key).Signed();
        var nonce = (await TokenRequestBuilder.For(Client).WithHeader("DPoP", proof).SendAsync(ahead)).Headers["DPoP-Nonce"];

        Assert.That((await SendAsync(Proof().WithClaim("nonce", nonce))).Status, Is.EqualTo(200));
    }

    [Test, Rfc(9449, "8c")]
    public async Task A_nonce_that_this_server_did_not_make_is_not_accepted()
    {
        var nonce = await ChallengeAsync(Proof(), Reason.DpopNonceMissing);
        var bytes = Base64Url.DecodeFromChars(nonce);

        string[] forgeries =
            ["", "x", "nonce", nonce + "A", nonce[..^1], nonce + "=", Flipped(0), Flipped(3), Flipped(4), Flipped(19)];
        foreach (var forged in forgeries)
            await ChallengeAsync(Proof().WithClaim("nonce", forged), Reason.DpopNonceStale);
        await ChallengeAsync(Proof().WithClaim("nonce", 7), Reason.DpopNonceMissing);

        string Flipped(int index)
        {
            var copy = bytes.ToArray();
            copy[index] ^= 1;
            return Base64Url.EncodeToString(copy);
        }
    }

    [Test, Rfc(9449, "8e")]
    public async Task With_a_fresh_nonce_the_clients_clock_may_be_wrong([Values(-86_400, 86_400)] int seconds)
    {
        var nonce = await ChallengeAsync(Proof(), Reason.DpopNonceMissing);
        var proof = Proof().WithClaim("nonce", nonce).WithClaim("iat", Server.Clock.GetUtcNow().ToUnixTimeSeconds() + seconds);

        Assert.That((await SendAsync(proof)).Status, Is.EqualTo(200));
    }

    [Test, Rfc(9449, "11.1")]
    public async Task A_proof_works_once_for_as_long_as_its_nonce_is_good()
    {
        var proof = Proof().WithClaim("nonce", await ChallengeAsync(Proof(), Reason.DpopNonceMissing)).Signed();
        Assert.That((await SendAsync(proof)).Status, Is.EqualTo(200));

        for (var second = 0; second < 120; second += 30)
        {
            Server.Clock.Advance(TimeSpan.FromSeconds(30));
            await IsRefusedAsync(proof, Reason.DpopProofReplayed, "The DPoP proof was used before: each request needs a new jti.");
        }
    }

    // The suite does not take use_dpop_nonce for a request without any proof.
    [Test, Rfc(9449, "5f"), Rfc(9449, "8d")]
    public async Task Without_a_proof_there_is_no_talk_of_nonces()
    {
        var client = await Database.CreateClientAsync("bound");
        await Database.ExecuteAsync("update token_service.client set sender_constraint = 'dpop' where id = 'bound'");

        (await TokenRequestBuilder.For(client).SendAsync(Server)).IsError(
            400, "invalid_dpop_proof", "This client's tokens must be bound to a key. Send a DPoP proof (RFC 9449 §5).");
        (await TokenRequestBuilder.For(Client).SendAsync(Server)).IsGrant();
    }

    // vouch-sh/vouch#407.
    [Test, Rfc(7523, "3q")]
    public async Task A_challenge_does_not_use_the_assertion_up()
    {
        var key = await Database.CreateKeyClientAsync("signer");
        var jwt = SignedJwt.Assertion(Server, "signer", key).Signed();

        var challenge = await TokenRequestBuilder.ByAssertion(jwt).WithHeader("DPoP", Proof().Signed()).SendAsync(Server);
        var nonce = challenge.Headers["DPoP-Nonce"];
        challenge.IsError(400, "use_dpop_nonce", UseNonce, ("DPoP-Nonce", nonce));

        (await TokenRequestBuilder.ByAssertion(jwt).WithHeader("DPoP", Proof().WithClaim("nonce", nonce).Signed()).SendAsync(Server))
            .IsGrant(tokenType: "DPoP", headers: ("DPoP-Nonce", nonce));
    }

    [Test]
    public async Task A_challenge_is_no_refusal_in_the_event_log()
    {
        var answer = await SendAsync(Proof());

        var line = await Server.Events.OfAsync(answer.RequestId);
        Assert.That(line.GetProperty("outcome").GetString(), Is.EqualTo("challenged"));
        Assert.That(line.GetProperty("error").GetString(), Is.EqualTo("use_dpop_nonce"));
    }

    // A nonce comes after the signature: a stranger's broken proof is not worth one.
    [Test, Rfc(9449, "5e")]
    public async Task A_bad_proof_is_refused_before_its_nonce_is_looked_at() =>
        await IsRefusedAsync(Proof().SignedBy(TestKey.Create()), Reason.DpopProofSignature, "The signature of the DPoP proof is wrong.");

    private async Task<string> ChallengeAsync(SignedJwt proof, string reason)
    {
        var answer = await SendAsync(proof);
        var nonce = answer.Headers["DPoP-Nonce"];
        answer.IsError(400, "use_dpop_nonce", UseNonce, ("DPoP-Nonce", nonce));
        Assert.That(nonce, Does.Match("^[A-Za-z0-9_-]{27}$"));
        Assert.That((await Server.Events.OfAsync(answer.RequestId)).GetProperty("reason").GetString(), Is.EqualTo(reason));
        return nonce;
    }
}
