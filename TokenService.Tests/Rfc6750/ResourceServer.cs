using System.Globalization;
using System.Security.Claims;
using Microsoft.IdentityModel.Tokens;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Rfc6750;

/// <summary>How ASP.NET Core's own verifier treats the server's tokens and tokens that resemble them.</summary>
[TestFixture, Rfc(6750, "3"), Rfc(9068, "4")]
public sealed class ResourceServer : ServerFixture
{
    // Malformed tokens are missing here, because the verifier throws a different exception for each kind.
    private static readonly Dictionary<Flaw, Type> Failures = new()
    {
        [Flaw.Type] = typeof(SecurityTokenInvalidTypeException),
        [Flaw.PlainType] = typeof(SecurityTokenInvalidTypeException),
        [Flaw.Signature] = typeof(SecurityTokenInvalidSignatureException),
        [Flaw.UnknownKey] = typeof(SecurityTokenSignatureKeyNotFoundException),
        [Flaw.Issuer] = typeof(SecurityTokenInvalidIssuerException),
        [Flaw.Audience] = typeof(SecurityTokenInvalidAudienceException),
        [Flaw.Expired] = typeof(SecurityTokenExpiredException),
        [Flaw.NoExpiry] = typeof(SecurityTokenNoExpirationException),
        [Flaw.NotYetValid] = typeof(SecurityTokenNotYetValidException),
    };

    private ProtectedApi api = null!;
    private BadTokens badTokens = null!;
    private string token = null!;

    [OneTimeSetUp]
    public async Task StartApi()
    {
        api = await ProtectedApi.StartAsync(Server);
        token = await IssueAsync(Server);
        badTokens = await BadTokens.MakeAsync(Server, token);
    }

    [OneTimeTearDown]
    public async Task StopApi() => await (api?.DisposeAsync() ?? ValueTask.CompletedTask);

    [Test, Rfc(6750, "2.1")]
    public async Task A_token_is_accepted([Values("Bearer", "bearer", "BEARER")] string scheme)
    {
        var answer = await api.GetAsync($"{scheme} {token}");

        using (Assert.EnterMultipleScope())
        {
            Assert.That(answer.Status, Is.EqualTo(200), $"{api.Failure}");
            // This verifier maps sub to NameIdentifier by default.
            Assert.That(answer.Json.GetProperty(ClaimTypes.NameIdentifier).GetString(), Is.EqualTo("billing"));
            Assert.That(answer.Json.GetProperty("client_id").GetString(), Is.EqualTo("billing"));
            Assert.That(answer.Json.GetProperty("scope").GetString(), Is.EqualTo("invoices:read"));
        }
    }

    [Test, Rfc(6750, "3b")]
    public async Task A_request_without_a_token_is_challenged_without_an_error_code(
        [Values(null, "Basic YmlsbGluZzpzZWNyZXQ=", "Bearer")] string? authorization) =>
        IsChallenge(await api.GetAsync(authorization), "Bearer");

    [Test, Rfc(6750, "2.2/2.3")]
    public async Task A_token_in_the_query_is_ignored() =>
        IsChallenge(await api.GetAsync(authorization: null, $"?access_token={token}"), "Bearer");

    // The control: a forgery signed with the real key is accepted, so each refusal below is due to its flaw alone.
    [Test]
    public async Task A_forgery_without_a_flaw_is_accepted()
    {
        var forged = new Forgery(token).SignedBy(await Forgery.KeyOfAsync(Server));

        Assert.That((await api.GetAsync($"Bearer {forged}")).Status, Is.EqualTo(200), $"{api.Failure}");
    }

    [TestCaseSource(nameof(Refused))]
    [Rfc(6750, "3a"), Rfc(6750, "3.1"), Rfc(9068, "4f")]
    public async Task A_bad_token_is_refused(string name)
    {
        var bad = badTokens[name];

        var answer = await api.GetAsync($"Bearer {bad.Token}");

        IsInvalidToken(answer, Failures.GetValueOrDefault(bad.Flaw));
    }

    // RFC 7519 §4 allows a parser to take the last of two members, and this verifier does not implement crit
    // (RFC 7515 §4.1.11). Only the issuer could sign such a token.
    [TestCaseSource(nameof(Accepted))]
    public async Task A_repeated_member_or_a_crit_header_is_accepted_when_the_issuer_signed_it(string name) =>
        Assert.That((await api.GetAsync($"Bearer {badTokens[name].Token}")).Status, Is.EqualTo(200));

    [Test, Rfc(8725, "3.8")]
    public async Task A_verifier_that_fetches_the_keys_after_a_withdrawal_refuses_tokens_of_the_withdrawn_key()
    {
        await using var database = await Database.CreateAsync();
        await using var server = await TestServer.StartAsync(database);
        var withdrawn = await BadTokens.WithdrawnAsync(database, server, await database.CreateClientAsync("billing"));
        await using var verifier = await ProtectedApi.StartAsync(server);

        IsInvalidToken(await verifier.GetAsync($"Bearer {withdrawn}"), typeof(SecurityTokenSignatureKeyNotFoundException), verifier);
    }

    // This verifier reads no token from a form or a query, so such a request has one token or none.
    [Test, Rfc(6750, "2.2/2.3")]
    public async Task A_bad_token_is_refused_even_beside_a_good_one_in_the_query() =>
        IsInvalidToken(
            await api.GetAsync($"Bearer {badTokens["alg none"].Token}", $"?access_token={token}"),
            typeof(SecurityTokenInvalidSignatureException));

    [Test, Rfc(6750, "2.2/2.3")]
    public async Task Two_tokens_in_one_header_are_refused(
        [Values("Bearer {0}, Bearer {0}", "Bearer {0} {0}", "Bearer {0},{0}")] string two) =>
        IsInvalidToken(await api.GetAsync(string.Format(CultureInfo.InvariantCulture, two, token)), failure: null);

    [Test, Rfc(9068, "4c"), Rfc(6750, "5.2a")]
    public async Task A_token_is_refused_by_another_resource()
    {
        await using var other = await ProtectedApi.StartAsync(Server, audience: "https://ledger.example.com");

        var answer = await other.GetAsync($"Bearer {token}");

        IsInvalidToken(answer, typeof(SecurityTokenInvalidAudienceException), other);
    }

    [Test, Rfc(9068, "4e")]
    public async Task A_token_is_refused_once_it_has_expired()
    {
        // The verifier runs on real time, so the server's clock is set back by an hour instead.
        await Database.ExecuteAsync("update token_service.client_secret set not_before = now() - interval '1 day'");
        var clock = new FakeClock();
        clock.Advance(TimeSpan.FromHours(-1));
        await using var server = await TestServer.StartAsync(Database.ConnectionString, clock);
        var old = await IssueAsync(server);
        clock.Advance(TimeSpan.FromHours(1));
        var fresh = await IssueAsync(server);
        await using var verifier = await ProtectedApi.StartAsync(server);

        IsInvalidToken(await verifier.GetAsync($"Bearer {old}"), typeof(SecurityTokenExpiredException), verifier);
        Assert.That((await verifier.GetAsync($"Bearer {fresh}")).Status, Is.EqualTo(200), $"{verifier.Failure}");
    }

    internal static IEnumerable<TestCaseData> Refused() =>
        BadTokens.CasesWhere(flaw => flaw is not (Flaw.Repeated or Flaw.Critical));

    internal static IEnumerable<TestCaseData> Accepted() =>
        BadTokens.CasesWhere(flaw => flaw is Flaw.Repeated or Flaw.Critical);

    private async Task<string> IssueAsync(TestServer server) =>
        (await TokenRequestBuilder.For(Client).SendAsync(server)).Token.EncodedToken;

    private void IsInvalidToken(Answer answer, Type? failure, ProtectedApi? verifier = null)
    {
        using (Assert.EnterMultipleScope())
        {
            Assert.That((verifier ?? api).Failure, failure is null ? Is.Not.Null : Is.TypeOf(failure));
            IsChallenge(answer, "Bearer error=\"invalid_token\"");
        }
    }

    // The verifier appends a description of its own, which is cut off here.
    private static void IsChallenge(Answer answer, string challenge)
    {
        Assert.That(answer.Status, Is.EqualTo(401));
        Assert.That(answer.Headers["WWW-Authenticate"].Split(", error_description=")[0], Is.EqualTo(challenge));
    }
}
