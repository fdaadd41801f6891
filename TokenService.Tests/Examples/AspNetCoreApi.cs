using Microsoft.Extensions.DependencyInjection;
using TokenService.Keys;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Examples;

/// <summary>What scripts/examples/aspnetcore-api answers, run as it is.</summary>
[TestFixture, Rfc(6750, "3")]
public sealed class AspNetCoreApi
{
    private Database database = null!;
    private TestServer server = null!;
    private TestClient client = null!;
    private ExampleApi api = null!;
    private BadTokens badTokens = null!;
    private string token = null!;

    [OneTimeSetUp]
    public async Task StartBoth()
    {
        database = await Database.CreateAsync();
        client = await database.CreateClientAsync("billing");
        server = await TestServer.StartAtItsIssuerAsync(database);
        api = await ExampleApi.StartAsync(server.Address.OriginalString);
        token = await IssueAsync("invoices:read");
        badTokens = await BadTokens.MakeAsync(server, token);
    }

    [OneTimeTearDown]
    public async Task StopBoth()
    {
        await (api?.DisposeAsync() ?? ValueTask.CompletedTask);
        await (server?.DisposeAsync() ?? ValueTask.CompletedTask);
        await (database?.DisposeAsync() ?? ValueTask.CompletedTask);
    }

    [Test]
    public async Task A_token_with_the_scope_gets_in([Values("invoices:read", "invoices:read invoices:write")] string scope)
    {
        var answer = await api.GetAsync($"Bearer {await IssueAsync(scope)}");

        Assert.That((answer.Status, answer.Body), Is.EqualTo((200, "The invoices, for billing")));
    }

    [Test, Rfc(6750, "3.1"), Rfc(9700, "2.3b")]
    public async Task A_token_without_the_scope_is_told_which_it_needs() =>
        IsRefused(
            await api.SendAsync(HttpMethod.Post, $"Bearer {token}"), 403, "Bearer error=\"insufficient_scope\", scope=\"invoices:write\"");

    // A scope that begins like the one needed, or holds it, is another scope.
    [Test, Rfc(6749, "3.3")]
    public async Task A_scope_is_compared_whole([Values("invoices:reader", "invoices:rea", "xinvoices:read", "INVOICES:READ")] string scope)
    {
        var other = new Forgery(token).WithClaim("scope", scope).SignedBy(await Forgery.KeyOfAsync(server));

        IsRefused(await api.GetAsync($"Bearer {other}"), 403, "Bearer error=\"insufficient_scope\", scope=\"invoices:read\"");
    }

    [Test, Rfc(6750, "3b")]
    public async Task Without_a_token_no_error_code_is_given() => IsRefused(await api.GetAsync(authorization: null), 401, "Bearer");

    [TestCaseSource(nameof(Refused))]
    [Rfc(6750, "3a"), Rfc(6750, "3.1"), Rfc(9068, "4f")]
    public async Task A_bad_token_is_refused(string name)
    {
        var answer = await api.GetAsync($"Bearer {badTokens[name].Token}");

        IsRefused(answer, 401, "Bearer error=\"invalid_token\"");
    }

    // RFC 6585 §5. Kestrel reads no headers of this size, so nobody looks at such a token.
    [TestCaseSource(nameof(TooLarge))]
    public async Task A_token_that_no_header_holds_is_refused(string name) =>
        Assert.That((await api.GetAsync($"Bearer {badTokens[name].Token}")).Status, Is.EqualTo(431));

    [Test]
    public async Task A_rotation_goes_unnoticed()
    {
        await using var own = await Database.CreateAsync();
        var caller = await own.CreateClientAsync("billing");
        await using var rotating = await TestServer.StartAtItsIssuerAsync(own);
        await using var verifier = await ExampleApi.StartAsync(rotating.Address.OriginalString);

        // The verifier has fetched the keys once, before the rotation, and will not again for 12 hours of its own, real time.
        var before = (await TokenRequestBuilder.For(caller).SendAsync(rotating)).Token;
        var first = await verifier.GetAsync($"Bearer {before.EncodedToken}");
        rotating.Clock.Advance(TimeSpan.FromDays(30) + TimeSpan.FromHours(1));
        await rotating.Services.GetRequiredService<KeyRotation>().StepAsync(CancellationToken.None);
        var after = (await TokenRequestBuilder.For(caller).SendAsync(rotating)).Token;

        using (Assert.EnterMultipleScope())
        {
            Assert.That(first.Status, Is.EqualTo(200));
            Assert.That(after.Kid, Is.Not.EqualTo(before.Kid));
            Assert.That((await verifier.GetAsync($"Bearer {after.EncodedToken}")).Status, Is.EqualTo(200));
            Assert.That((await verifier.GetAsync($"Bearer {before.EncodedToken}")).Status, Is.EqualTo(200));
        }
    }

    // The new key was not published before it signs: the verifier learns of it from the first token that names it. The old keys it
    // believes for another hour, in case the issuer made a mistake: who cannot wait for a token's end asks by introspection.
    [Test]
    public async Task The_key_that_follows_a_withdrawn_one_is_found_and_the_withdrawn_one_not_forgotten_at_once()
    {
        await using var own = await Database.CreateAsync();
        var caller = await own.CreateClientAsync("billing");
        await using var emergency = await TestServer.StartAtItsIssuerAsync(own);
        await using var verifier = await ExampleApi.StartAsync(emergency.Address.OriginalString);
        var before = (await TokenRequestBuilder.For(caller).SendAsync(emergency)).Token.EncodedToken;
        Assert.That((await verifier.GetAsync($"Bearer {before}")).Status, Is.EqualTo(200));

        for (var key = 0; key < 2; key++)
            await BadTokens.WithdrawnAsync(own, emergency, caller);
        var after = (await TokenRequestBuilder.For(caller).SendAsync(emergency)).Token.EncodedToken;

        await Soon.IsAsync("the new key is found", async () => (await verifier.GetAsync($"Bearer {after}")).Status == 200);
        Assert.That((await verifier.GetAsync($"Bearer {before}")).Status, Is.EqualTo(200));
    }

    // By the list that it has before its first request; AspNetCoreApiRevokedTokens has the lists that follow.
    [Test, Rfc(7009, "2")]
    public async Task A_token_that_was_revoked_before_its_start_is_refused()
    {
        var revoked = await IssueAsync("invoices:read");
        await TokenRequestBuilder.For(client).WithPath("/revoke").With("token", revoked).SendAsync(server);
        // The list is made anew no sooner.
        server.Clock.Advance(TimeSpan.FromSeconds(5));
        await using var later = await ExampleApi.StartAsync(server.Address.OriginalString);

        using (Assert.EnterMultipleScope())
        {
            IsRefused(await later.GetAsync($"Bearer {revoked}"), 401, "Bearer error=\"invalid_token\"");
            Assert.That((await later.GetAsync($"Bearer {token}")).Status, Is.EqualTo(200));
        }
    }

    [TestCase("must use HTTPS", "--Authority=http://tokens.example.com", "--Audience=https://api.example.com")]
    [TestCase("The setting Authority is missing.", "--Audience=https://api.example.com")]
    [TestCase("The setting Audience is missing.", "--Authority=http://127.0.0.1:1")]
    public async Task Wrong_settings_end_it_at_its_start(string why, params string[] settings)
    {
        var ended = await Tool.RunAsync(
            "dotnet", [Path.Combine(AppContext.BaseDirectory, "Examples.Api.dll"), "--urls=http://127.0.0.1:0", .. settings]);

        using (Assert.EnterMultipleScope())
        {
            Assert.That(ended.ExitCode, Is.Not.Zero);
            Assert.That(ended.Output + ended.Error, Does.Contain(why));
        }
    }

    internal static IEnumerable<TestCaseData> Refused() => BadTokens.CasesWhere(
        flaw => flaw is not (Flaw.Repeated or Flaw.Critical)).Where(test => !IsTooLarge(test));

    internal static IEnumerable<TestCaseData> TooLarge() => BadTokens.Cases().Where(IsTooLarge);

    private static bool IsTooLarge(TestCaseData test) => ((string)test.Arguments[0]!).Contains("100 kB", StringComparison.Ordinal);

    private async Task<string> IssueAsync(string scope) =>
        (await TokenRequestBuilder.For(client).WithScope(scope).SendAsync(server)).Token.EncodedToken;

    // What follows the error code of a 401 is JwtBearer's own description.
    private static void IsRefused(Answer answer, int status, string challenge)
    {
        using (Assert.EnterMultipleScope())
        {
            Assert.That(answer.Status, Is.EqualTo(status));
            Assert.That(answer.Headers["WWW-Authenticate"].Split(", error_description=")[0], Is.EqualTo(challenge));
        }
    }
}
