using System.Text.Json.Nodes;
using TokenService.Protocol;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Rfc7523;

/// <summary>The claims of an assertion: who, for whom, from when to when, and its id.</summary>
[TestFixture, Rfc(7523, "3")]
public sealed class AssertionClaims : AssertionFixture
{
    private static readonly string[] Dates = ["exp", "iat", "nbf"];

    // A clock that a test moves forward ends the limits of wrong attempts, too.
    [SetUp]
    public void MoveOn() => Server.Clock.Advance(TimeSpan.FromMinutes(2));

    [Rfc(7523, "3a"), Rfc(7523, "3h")]
    [TestCase("iss", null)]
    [TestCase("sub", null)]
    [TestCase("iss", "billing")]
    [TestCase("sub", "billing")]
    [TestCase("iss", "")]
    public async Task Iss_and_sub_must_both_be_the_client(string claim, string? value) =>
        await IsRefusedAsync(
            value is null ? Assertion().WithoutClaim(claim) : Assertion().WithClaim(claim, value), Reason.AssertionSubjectWrong);

    [Test, Rfc(7523, "3a")]
    public async Task Iss_and_sub_must_be_strings(
        [Values("iss", "sub")] string claim, [Values("7", "null", "[\"signer\"]", "{}")] string json) =>
        await IsRefusedAsync(Assertion().WithClaim(claim, JsonNode.Parse(json)), Reason.AssertionSubjectWrong);

    [Test, Rfc(7521, "5.2"), Rfc(8725, "3.8")]
    public async Task An_assertion_for_another_client_signed_with_a_clients_own_key_is_refused()
    {
        await Database.CreateKeyClientAsync("other");

        await IsRefusedAsync(SignedJwt.Assertion(Server, "other", Key), Reason.AssertionSignatureWrong);
        await IsRefusedAsync(SignedJwt.Assertion(Server, "nobody", Key), Reason.UnknownClient);
        await IsRefusedAsync(SignedJwt.Assertion(Server, Client.Id, Key), Reason.AuthMethodNotAllowed);
    }

    [Test, Rfc(7523, "3b"), Rfc(7523, "3i"), Rfc(8725, "3.9")]
    public async Task Aud_must_be_the_issuer_alone([Values(
        "null", "\"\"", "[]", "7", "{}", "[[\"http://127.0.0.1:8080\"]]",
        "\"http://127.0.0.1:8080/\"", "\"HTTP://127.0.0.1:8080\"", "\"http://127.0.0.1\"", "\"http://127.0.0.1:08080\"",
        "\"http://127.0.0.1:8080/token\"", "\"http://127.0.0.1:8080/introspect\"", "\"https://as.example.com\"", "\"signer\"",
        "[\"http://127.0.0.1:8080\",\"https://as.example.com\"]", "[\"http://127.0.0.1:8080\",\"http://127.0.0.1:8080\"]",
        "[\"http://127.0.0.1:8080/token\"]")] string json) =>
        await IsRefusedAsync(Assertion().WithClaim("aud", JsonNode.Parse(json)), Reason.AssertionAudienceWrong);

    [Test, Rfc(7523, "3i")]
    public async Task Aud_must_be_there() => await IsRefusedAsync(Assertion().WithoutClaim("aud"), Reason.AssertionAudienceWrong);

    // rfc7523bis allows it since its draft 03.
    [Test, Rfc(7523, "3b")]
    public async Task An_array_with_the_issuer_alone_is_accepted() =>
        await IsGrantedAsync(Assertion().WithClaim("aud", new JsonArray(TestServer.Issuer)));

    [Test, Rfc(7523, "3b")]
    public async Task A_client_may_be_allowed_the_token_endpoint_as_aud_until_a_date()
    {
        var until = Server.Clock.GetUtcNow() + TimeSpan.FromHours(1);
        var key = await Database.CreateKeyClientAsync("older");
        await Database.ExecuteAsync(
            "update token_service.client set token_endpoint_audience_until = @until where id = 'older'", new { until });

        var answer = await SendAsync(Older());
        answer.IsGrant();
        Assert.That(
            (await Server.Events.OfAsync(answer.EventId)).GetProperty("detail").GetString(),
            Is.EqualTo("the aud is the token endpoint; the client should send the issuer"));
        (await SendAsync(SignedJwt.Assertion(Server, "older", key))).IsGrant();
        await IsRefusedAsync(
            Older().WithClaim("aud", new JsonArray($"{TestServer.Issuer}/token", TestServer.Issuer)), Reason.AssertionAudienceWrong);
        await IsRefusedAsync(Older().WithClaim("aud", $"{TestServer.Issuer}/introspect"), Reason.AssertionAudienceWrong);

        Server.Clock.Advance(TimeSpan.FromHours(1));
        await IsRefusedAsync(Older(), Reason.AssertionAudienceWrong);

        SignedJwt Older() => SignedJwt.Assertion(Server, "older", key).WithClaim("aud", $"{TestServer.Issuer}/token");
    }

    [Test, Rfc(7523, "3j")]
    public async Task Dates_must_be_numbers_of_a_year_before_10000(
        [ValueSource(nameof(Dates))] string claim,
        [Values("null", "\"1700000000\"", "-1", "253402300800", "1e30", "1e400", "-1e400", "[1700000000]", "true")] string json)
    {
        var claims = Assertion().WithoutClaim(claim).Claims;

        await IsRefusedAsync(Assertion().WithRawClaims($$"""{"{{claim}}":{{json}},{{claims[1..]}}"""), Reason.AssertionClaimsMalformed);
    }

    [Test, Rfc(7523, "3c"), Rfc(7523, "3j")]
    public async Task Exp_must_be_there() => await IsRefusedAsync(Assertion().WithoutClaim("exp"), Reason.AssertionClaimsMalformed);

    [Rfc(7523, "3c")]
    [TestCase(-59, true)]
    [TestCase(-60, false)]
    [TestCase(-300, false)]
    public async Task Exp_must_not_be_a_minute_ago(int seconds, bool isAccepted)
    {
        var assertion = Assertion().WithClaim("exp", Now() + seconds);

        if (isAccepted)
            await IsGrantedAsync(assertion);
        else
            await IsRefusedAsync(assertion, Reason.AssertionExpired);
    }

    [Test, Rfc(7523, "3l")]
    public async Task Exp_may_be_far_ahead_if_there_is_an_iat([Values(301, 86_400, 253_402_300_799)] long seconds) =>
        await IsGrantedAsync(Assertion().WithClaim("exp", Math.Min(Now() + seconds, 253_402_300_799)));

    [Rfc(7523, "3l")]
    [TestCase(300, true)]
    [TestCase(301, false)]
    public async Task Without_iat_exp_must_be_near(int seconds, bool isAccepted)
    {
        var assertion = Assertion().WithoutClaim("iat").WithClaim("exp", Now() + seconds);

        if (isAccepted)
            await IsGrantedAsync(assertion);
        else
            await IsRefusedAsync(assertion, Reason.AssertionLivesTooLong);
    }

    [Rfc(7523, "3d"), Rfc(7523, "3l")]
    [TestCase(359, true)]
    [TestCase(360, false)]
    public async Task An_assertion_is_too_old_five_minutes_and_the_skew_after_its_iat(int seconds, bool isAccepted)
    {
        var assertion = Assertion().WithoutClaim("nbf").WithClaim("iat", Now() - seconds).WithClaim("exp", Now() + 3600);

        if (isAccepted)
            await IsGrantedAsync(assertion);
        else
            await IsRefusedAsync(assertion, Reason.AssertionTooOld);
    }

    [Test, Rfc(7523, "3d"), Rfc(7523, "3m")]
    public async Task Iat_and_nbf_may_be_a_minute_ahead([Values("iat", "nbf")] string claim, [Values(8, 10, 60, 61)] int seconds)
    {
        var assertion = Assertion().WithClaim(claim, Now() + seconds).WithClaim("exp", Now() + 120);

        if (seconds <= 60)
            await IsGrantedAsync(assertion);
        else
            await IsRefusedAsync(assertion, Reason.AssertionNotYetValid);
    }

    [Test, Rfc(7523, "3k")]
    public async Task Dates_may_have_fractions()
    {
        var assertion = Assertion();
        var claims = assertion.WithoutClaim("iat").WithoutClaim("nbf").WithoutClaim("exp").Claims;

        await IsGrantedAsync(assertion.WithRawClaims(
            $$"""{"iat":{{Now()}}.25,"nbf":{{Now()}}.999999,"exp":{{Now() + 60}}.75,{{claims[1..]}}"""));
        var others = claims[1..].Replace("jti", "unread", StringComparison.Ordinal);
        await IsGrantedAsync(Assertion().WithRawClaims(
            $$"""{"iat":{{Now()}}.0e0,"exp":{{(Now() + 60) / 1000.0:F3}}e3,"jti":"another",{{others}}"""));
    }

    // The end is 60 seconds after the exp: an exp of half a second more is good half a second longer, and no longer.
    [Rfc(7523, "3k")]
    [TestCase("-59.5", true)]
    [TestCase("-60.0", false)]
    public async Task A_fraction_does_not_lengthen_a_life(string seconds, bool isAccepted)
    {
        var exp = Now() + decimal.Parse(seconds, System.Globalization.CultureInfo.InvariantCulture);

        if (isAccepted)
            await IsGrantedAsync(Assertion().WithClaim("exp", exp));
        else
            await IsRefusedAsync(Assertion().WithClaim("exp", exp), Reason.AssertionExpired);
    }

    [Rfc(7523, "3e"), Rfc(7523, "3n")]
    [TestCase("null")]
    [TestCase("\"\"")]
    [TestCase("7")]
    [TestCase("[\"a\"]")]
    [TestCase(null)]
    public async Task Jti_must_be_a_string_that_is_not_empty(string? json) =>
        await IsRefusedAsync(
            json is null ? Assertion().WithoutClaim("jti") : Assertion().WithClaim("jti", JsonNode.Parse(json)),
            Reason.AssertionClaimsMalformed);

    [Rfc(7523, "3n")]
    [TestCase(256, true)]
    [TestCase(257, false)]
    public async Task Jti_has_at_most_256_characters(int length, bool isAccepted)
    {
        var assertion = Assertion().WithClaim("jti", new string('j', length));

        if (isAccepted)
            await IsGrantedAsync(assertion);
        else
            await IsRefusedAsync(assertion, Reason.AssertionClaimsMalformed);
    }

    [Test, Rfc(7523, "3g"), Rfc(8725, "3.7")]
    public async Task A_member_that_repeats_and_text_that_is_not_UTF8_are_refused()
    {
        var claims = Assertion().Claims;

        await IsRefusedAsync(Assertion().WithRawClaims($$"""{"sub":"billing",{{claims[1..]}}"""), Reason.AssertionMalformed);
        await IsRefusedAsync(Assertion().WithRawClaims($$"""{"x":"\ud800",{{claims[1..]}}"""), Reason.AssertionMalformed);
        await IsRefusedAsync(Assertion().WithRawClaims("[]"), Reason.AssertionMalformed);
        await IsRefusedAsync(Assertion().WithRawClaims(new string('[', 40) + new string(']', 40)), Reason.AssertionMalformed);
        await IsRefusedAsync(Assertion().WithRawHeader($$"""{"alg":"ES256","alg":"ES256","kid":"k1"}"""), Reason.AssertionMalformed);
    }

    private long Now() => Server.Clock.GetUtcNow().ToUnixTimeSeconds();
}
