using System.Text.RegularExpressions;
using Microsoft.Extensions.DependencyInjection;
using TokenService.Keys;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Examples;

/// <summary>Tests the answers of the unchanged scripts/examples/aspnetcore-api.</summary>
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
    public async Task The_API_accepts_a_token_with_the_scope(
        [Values("invoices:read", "invoices:read invoices:write")] string scope)
    {
        var answer = await api.GetAsync($"Bearer {await IssueAsync(scope)}");

        Assert.That((answer.Status, answer.Body), Is.EqualTo((200, "The invoices, for billing")));
    }

    [Test, Rfc(6750, "3.1"), Rfc(9700, "2.3b")]
    public async Task The_API_refuses_a_token_without_the_scope_and_names_the_scope() =>
        IsRefused(
            await api.SendAsync(HttpMethod.Post, $"Bearer {token}"), 403, "Bearer error=\"insufficient_scope\", scope=\"invoices:write\"");

    // A scope that differs from the needed one only in length or case is another scope.
    [Test, Rfc(6749, "3.3")]
    public async Task The_API_refuses_a_scope_that_only_resembles_the_one_it_needs(
        [Values("invoices:reader", "invoices:rea", "xinvoices:read", "INVOICES:READ")] string scope)
    {
        var other = new Forgery(token).WithClaim("scope", scope).SignedBy(await Forgery.KeyOfAsync(server));

        IsRefused(await api.GetAsync($"Bearer {other}"), 403, "Bearer error=\"insufficient_scope\", scope=\"invoices:read\"");
    }

    [Test, Rfc(6750, "3b")]
    public async Task The_API_gives_no_error_code_to_a_request_without_a_token() =>
        IsRefused(
            await api.GetAsync(authorization: null), 401,
            "Bearer resource_metadata=\"https://api.example.com/.well-known/oauth-protected-resource\"");

    [TestCaseSource(nameof(Refused))]
    [Rfc(6750, "3a"), Rfc(6750, "3.1"), Rfc(9068, "4f")]
    public async Task The_API_refuses_a_bad_token(string name)
    {
        var answer = await api.GetAsync($"Bearer {badTokens[name].Token}");

        IsRefused(answer, 401, "Bearer error=\"invalid_token\"");
    }

    // RFC 6585 §5. Kestrel refuses headers of this size before the API sees the token.
    [TestCaseSource(nameof(TooLarge))]
    public async Task The_API_refuses_a_token_that_is_too_large_for_a_header(string name) =>
        Assert.That((await api.GetAsync($"Bearer {badTokens[name].Token}")).Status, Is.EqualTo(431));

    [Test]
    public async Task The_API_accepts_tokens_of_both_keys_after_a_rotation()
    {
        await using var own = await Database.CreateAsync();
        var caller = await own.CreateClientAsync("billing");
        await using var rotating = await TestServer.StartAtItsIssuerAsync(own);
        await using var verifier = await ExampleApi.StartAsync(rotating.Address.OriginalString);

        // The verifier has fetched the keys before the rotation. Its own clock is real, so it fetches them again only
        // after 12 hours.
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

    // The new key was not published before it signs, so the verifier fetches it when the first token names it. The
    // verifier accepts the old keys for another hour, in case the issuer made a mistake. An API that cannot wait uses
    // introspection.
    [Test]
    public async Task The_API_finds_the_key_that_follows_a_withdrawn_one_and_accepts_the_withdrawn_one_for_a_while()
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

    // The API fetches the first list before its first request. AspNetCoreApiRevokedTokens tests the lists that follow.
    [Test, Rfc(7009, "2")]
    public async Task The_API_refuses_a_token_that_was_revoked_before_the_API_started()
    {
        var revoked = await IssueAsync("invoices:read");
        await TokenRequestBuilder.For(client).WithPath("/revoke").With("token", revoked).SendAsync(server);
        // The server makes a new list only after 5 seconds.
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
    public async Task The_API_does_not_start_with_wrong_settings(string why, params string[] settings)
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

    // JwtBearer appends a description of its own to the error code of a 401; it is not compared. What follows it is
    // tested in AspNetCoreApiChallenges.
    private static void IsRefused(Answer answer, int status, string challenge)
    {
        using (Assert.EnterMultipleScope())
        {
            Assert.That(answer.Status, Is.EqualTo(status));
            Assert.That(
                Regex.Split(answer.Headers["WWW-Authenticate"], "(?<=error=\"invalid_token\"), |, DPoP ")[0], Is.EqualTo(challenge));
        }
    }
}
