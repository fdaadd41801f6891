using Microsoft.Extensions.DependencyInjection;
using Microsoft.IdentityModel.JsonWebTokens;
using Microsoft.IdentityModel.Tokens;
using TokenService.Keys;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Rfc9701;

/// <summary>The answer as a JWT, read by a library of somebody else with the keys of the JWKS.</summary>
[TestFixture, Rfc(9701, "5")]
public sealed class SignedAnswers : IntrospectionFixture
{
    private const string Type = "token-introspection+jwt";

    [Test, Rfc(9701, "4"), Rfc(9701, "5a"), Rfc(9701, "5b")]
    public async Task The_answer_of_a_good_token()
    {
        var token = await IssueAsync();

        var answer = await SignedAsync(Api, token);

        await SaysAsync(answer, Server, Api, (await IntrospectAsync(token)).Body);
        (await IntrospectAsync(token)).IsActive(token);
    }

    [Test, Rfc(9701, "5a"), Rfc(9701, "5b"), Rfc(7662, "2.2b")]
    public async Task The_answer_of_any_other_token()
    {
        foreach (var token in new[] { "rubbish", new Forgery(await IssueAsync()).WithDamagedSignature() })
            await SaysAsync(await SignedAsync(Api, token), Server, Api, """{"active":false}""");
    }

    [Test, Rfc(9701, "5c")]
    public async Task The_answer_to_an_API_the_token_is_not_for()
    {
        var ledger = await Database.CreateClientAsync("ledger-reader", "ledger:read", "ledger:read", "https://ledger.example.com");
        var token = await IssueAsync(ledger, "ledger:read");

        await SaysAsync(await SignedAsync(Api, token), Server, Api, """{"active":false}""");
    }

    [Test, Rfc(9701, "5a")]
    public async Task Each_caller_is_its_audience()
    {
        var (twin, token) = (await Database.CreateApiAsync("twin", Resource), await IssueAsync());

        await SaysAsync(await SignedAsync(twin, token), Server, twin, (await IntrospectAsync(token)).Body);
        var validated = await ValidateAsync((await SignedAsync(Api, token)).Body, Server, twin);
        Assert.That(validated.Exception, Is.TypeOf<SecurityTokenInvalidAudienceException>());
    }

    [Test, Rfc(9701, "5a")]
    public async Task It_says_when_it_was_made_not_when_the_token_was()
    {
        var token = await IssueAsync();
        Server.Clock.Advance(TimeSpan.FromSeconds(77.7));

        var madeAt = new JsonWebToken((await SignedAsync(Api, token)).Body).GetPayloadValue<long>("iat");

        Assert.That(madeAt, Is.EqualTo(Server.Clock.GetUtcNow().ToUnixTimeSeconds()));
        Assert.That(madeAt, Is.GreaterThanOrEqualTo(new JsonWebToken(token).GetPayloadValue<long>("iat") + 77));
    }

    // RFC 7662 §2.3: an error is no answer about a token.
    [Test, Rfc(9701, "5c"), Rfc(7662, "2.3a")]
    public async Task An_error_is_JSON_all_the_same()
    {
        var token = await IssueAsync();

        (await SignedAsync(Api with { Secret = "tsvc_damaged" }, token)).IsInvalidClient();
        (await SignedAsync(Api, "")).IsError(400, "invalid_request", "The parameter token is missing.");
        (await SignedAsync(Client, token)).IsError(
            400, "unauthorized_client", "This client speaks for no resource: an admin has to register it for one.");
    }

    // What it can verify tokens with, it can verify answers with; all that the metadata lists.
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
        server.Clock.Advance(keys.GroupBy(key => key.Algorithm).Max(of => of.Min(key => key.SignsFrom)) - server.Clock.GetUtcNow());
        await rotation.StepAsync(CancellationToken.None);

        foreach (var algorithm in listed)
        {
            var api = await database.CreateApiAsync($"api-{algorithm}", $"https://{algorithm}.example.com");
            var answer = await SignedAsync(api, "rubbish", server);
            await SaysAsync(answer, server, api, """{"active":false}""", algorithm);
        }
    }

    private Task<Answer> SignedAsync(TestClient api, string token, TestServer? server = null) =>
        TokenRequestBuilder.Introspect(api, token).WithHeader("Accept", "application/token-introspection+jwt").SendAsync(server ?? Server);

    private static async Task SaysAsync(Answer answer, TestServer server, TestClient api, string inside, string algorithm = "ES256")
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
                $$"""{"iss":"{{TestServer.Issuer}}","aud":"{{api.Id}}","iat":{{now}},"token_introspection":{{inside}}}"""));
        }
    }

    private static async Task<TokenValidationResult> ValidateAsync(string jwt, TestServer server, TestClient api)
    {
        var keys = new JsonWebKeySet((await server.GetAsync("/.well-known/jwks.json")).Body);
        return await new JsonWebTokenHandler().ValidateTokenAsync(jwt, new TokenValidationParameters
        {
            ValidIssuer = TestServer.Issuer,
            ValidAudience = api.Id,
            ValidTypes = [Type],
            IssuerSigningKeys = keys.GetSigningKeys(),
            // It has no end: §5 wants none.
            RequireExpirationTime = false,
        });
    }
}
