using Microsoft.Extensions.DependencyInjection;
using Microsoft.IdentityModel.JsonWebTokens;
using Microsoft.IdentityModel.Tokens;
using TokenService.Keys;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Rfc9701;

/// <summary>The answer as a JWT, verified by a library that is not ours with the keys of the JWKS.</summary>
[TestFixture, Rfc(9701, "5")]
public sealed class SignedAnswers : IntrospectionFixture
{
    private const string Type = "token-introspection+jwt";

    [Test, Rfc(9701, "4"), Rfc(9701, "5a"), Rfc(9701, "5b")]
    public async Task A_signed_answer_about_an_active_token_has_the_members_of_the_JSON_answer()
    {
        var token = await IssueAsync();

        var answer = await SignedAsync(Api, token);

        await HasPayloadAsync(answer, Server, Api, (await IntrospectAsync(token)).Body);
        (await IntrospectAsync(token)).IsActive(token);
    }

    [Test, Rfc(9701, "5a"), Rfc(9701, "5b"), Rfc(7662, "2.2b")]
    public async Task A_signed_answer_about_a_bad_token_says_only_that_it_is_inactive()
    {
        foreach (var token in new[] { "rubbish", new Forgery(await IssueAsync()).WithDamagedSignature() })
            await HasPayloadAsync(await SignedAsync(Api, token), Server, Api, """{"active":false}""");
    }

    [Test, Rfc(9701, "5c")]
    public async Task A_signed_answer_to_an_API_the_token_is_not_for_says_only_that_it_is_inactive()
    {
        var ledger = await Database.CreateClientAsync("ledger-reader", "ledger:read", "ledger:read", "https://ledger.example.com");
        var token = await IssueAsync(ledger, "ledger:read");

        await HasPayloadAsync(await SignedAsync(Api, token), Server, Api, """{"active":false}""");
    }

    [Test, Rfc(9701, "5a")]
    public async Task The_audience_of_a_signed_answer_is_its_caller()
    {
        var (twin, token) = (await Database.CreateApiAsync("twin", Resource), await IssueAsync());

        await HasPayloadAsync(await SignedAsync(twin, token), Server, twin, (await IntrospectAsync(token)).Body);
        var validated = await ValidateAsync((await SignedAsync(Api, token)).Body, Server, twin);
        Assert.That(validated.Exception, Is.TypeOf<SecurityTokenInvalidAudienceException>());
    }

    [Test, Rfc(9701, "5a")]
    public async Task The_iat_of_a_signed_answer_is_its_own_and_not_that_of_the_token()
    {
        var token = await IssueAsync();
        Server.Clock.Advance(TimeSpan.FromSeconds(77.7));

        var madeAt = new JsonWebToken((await SignedAsync(Api, token)).Body).GetPayloadValue<long>("iat");

        Assert.That(madeAt, Is.EqualTo(Server.Clock.GetUtcNow().ToUnixTimeSeconds()));
        Assert.That(madeAt, Is.GreaterThanOrEqualTo(new JsonWebToken(token).GetPayloadValue<long>("iat") + 77));
    }

    // RFC 7662 §2.3: an error is not an answer about a token, so it is not signed.
    [Test, Rfc(9701, "5c"), Rfc(7662, "2.3a")]
    public async Task An_error_is_JSON_even_for_a_caller_that_accepts_the_signed_type()
    {
        var token = await IssueAsync();

        (await SignedAsync(Api with { Secret = "tsvc_damaged" }, token)).IsInvalidClient();
        (await SignedAsync(Api, "")).IsError(400, "invalid_request", "The parameter token is missing from the body.");
        (await SignedAsync(Client, token)).IsError(
            400, "unauthorized_client", "This client speaks for no resource: an admin has to register it for one.");
    }

    // A resource can verify answers with the algorithm that it asked for in its tokens. The test takes every algorithm
    // that the metadata lists.
    [Test, Rfc(8414, "2f")]
    public async Task A_resource_that_asks_for_an_algorithm_gets_answers_signed_with_it()
    {
        await using var database = await Database.CreateAsync();
        await using var server = await TestServer.StartAsync(database, "Keys:RsaKeySize=2048");
        var listed = (await server.GetAsync("/.well-known/oauth-authorization-server")).Json
            .GetProperty("introspection_signing_alg_values_supported").EnumerateArray().Select(name => name.GetString()!).ToList();
        Assert.That(listed, Is.EquivalentTo(["ES256", "ES384", "RS256", "PS256"]));
        foreach (var algorithm in listed)
            await database.ExecuteAsync(
                "select token_service.create_resource('https://' || @algorithm || '.example.com', '{}', @algorithm)", new { algorithm });
        var rotation = server.Services.GetRequiredService<KeyRotation>();
        await rotation.StepAsync(CancellationToken.None);
        var keys = server.Services.GetRequiredService<SigningKeys>().Ring.Keys;
        var allSign = keys.GroupBy(key => key.Algorithm).Max(group => group.Min(key => key.SignsFrom));
        server.Clock.Advance(allSign - server.Clock.GetUtcNow());
        await rotation.StepAsync(CancellationToken.None);

        foreach (var algorithm in listed)
        {
            var api = await database.CreateApiAsync($"api-{algorithm}", $"https://{algorithm}.example.com");
            var answer = await SignedAsync(api, "rubbish", server);
            await HasPayloadAsync(answer, server, api, """{"active":false}""", algorithm);
        }
    }

    // A further resource must not take the answers from the API that it has verified so far.
    [Test]
    public async Task An_API_gets_answers_in_an_algorithm_of_its_other_resources_while_that_of_one_may_not_sign_yet()
    {
        await using var database = await Database.CreateAsync();
        await using var server = await TestServer.StartAsync(database);
        await database.ExecuteAsync(
            """
            select token_service.create_resource('https://a.example.com', p_signing_alg => 'ES384'),
                   token_service.create_resource('https://b.example.com')
            """);
        var (one, both) = (
            await database.CreateApiAsync("one", "https://a.example.com"),
            await database.CreateApiAsync("both", "https://a.example.com", "https://b.example.com"));
        await server.Services.GetRequiredService<KeyRotation>().StepAsync(CancellationToken.None);

        (await SignedAsync(one, "rubbish", server)).IsError(
            503, "temporarily_unavailable", "The server cannot answer now. Retry-After says when to ask again.", ("Retry-After", $"{17 * 60}"));
        await HasPayloadAsync(await SignedAsync(both, "rubbish", server), server, both, """{"active":false}""");

        server.Clock.Advance(TimeSpan.FromMinutes(17));
        foreach (var api in new[] { one, both })
            await HasPayloadAsync(await SignedAsync(api, "rubbish", server), server, api, """{"active":false}""", "ES384");
    }

    private Task<Answer> SignedAsync(TestClient api, string token, TestServer? server = null) =>
        TokenRequestBuilder.Introspect(api, token)
            .WithHeader("Accept", "application/token-introspection+jwt").SendAsync(server ?? Server);

    private static async Task HasPayloadAsync(
        Answer answer, TestServer server, TestClient api, string expected, string algorithm = "ES256")
    {
        answer.IsDone(answer.Body, "application/token-introspection+jwt");
        var validated = await ValidateAsync(answer.Body, server, api);
        Assert.That(validated.IsValid, Is.True, $"{validated.Exception}");
        var (jwt, now) = ((JsonWebToken)validated.SecurityToken, server.Clock.GetUtcNow().ToUnixTimeSeconds());
        using (Assert.EnterMultipleScope())
        {
            Assert.That(
                Base64UrlEncoder.Decode(jwt.EncodedHeader),
                Is.EqualTo($$"""{"alg":"{{algorithm}}","kid":"{{jwt.Kid}}","typ":"{{Type}}"}"""));
            Assert.That(Base64UrlEncoder.Decode(jwt.EncodedPayload), Is.EqualTo(
                $$"""
                {"iss":"{{TestServer.Issuer}}","aud":"{{api.Id}}","iat":{{now}},"token_introspection":{{expected}}}
                """));
        }
    }

    // RFC 9701 §5 wants an answer without exp.
    private static Task<TokenValidationResult> ValidateAsync(string jwt, TestServer server, TestClient api) =>
        SecondOpinion.ValidateAsync(server, jwt, Type, api.Id, expires: false);
}
