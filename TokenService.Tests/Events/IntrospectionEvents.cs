using System.Text.Json;
using Microsoft.IdentityModel.JsonWebTokens;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Events;

/// <summary>
/// Each introspection request writes one event: which client asked about which token, and why the token is inactive,
/// which the caller is not told.
/// </summary>
[TestFixture, Rfc(7662, "5")]
public sealed class IntrospectionEvents : IntrospectionFixture
{
    private int number;

    private protected override string[] Settings =>
        ["Logging:LogLevel:Default=Trace", "Logging:LogLevel:Microsoft.AspNetCore=Trace", "Logging:LogLevel:Npgsql=Trace"];

    [Test]
    public async Task An_active_token_is_logged_with_its_client_and_resource(
        [Values("application/json", "application/token-introspection+jwt")] string accept)
    {
        var token = await IssueAsync();

        var answer = await TokenRequestBuilder.Introspect(Api, token).WithHeader("Accept", accept).SendAsync(Server);

        await IsAsync(answer, $$"""
            {
              "outcome": "granted", "status": 200,
              "client_id": "api", "auth_method": "client_secret_basic", "secret_id": "{{Api.Secret[5..17]}}",
              "resource": "https://api.example.com",
              "jti": "{{new JsonWebToken(token).Id}}", "token_client_id": "billing", "active": true, "source": "127.0.0.1", "duration_us": 0
            }
            """);
    }

    [TestCase("the type of an answer to introspection", "token_of_another_type")]
    [TestCase("an extension that is critical", "token_has_extensions")]
    [TestCase("a kid nobody published", "token_key_unknown")]
    [TestCase("the alg of another kind of key", "token_algorithm_wrong")]
    [TestCase("a bit of its signature turned over", "token_signature_wrong")]
    [TestCase("another issuer", "token_of_another_issuer")]
    [TestCase("no audience", "token_claims_malformed")]
    [TestCase("an end long past", "token_expired")]
    [TestCase("a beginning in the far future", "token_not_yet_valid")]
    [TestCase("one word", "token_malformed")]
    [TestCase("a header that is an array", "token_malformed")]
    [TestCase("a payload that is an array", "token_malformed")]
    [TestCase("a kid of 10 kB", "token_too_long")]
    public async Task A_bad_token_is_logged_with_the_reason(string name, string reason) =>
        await IsInactiveAsync((await BadTokens.MakeAsync(Server, await IssueAsync()))[name].Token, reason);

    [Test]
    public async Task A_token_for_another_resource_is_logged_with_that_reason() => await IsInactiveAndNamedAsync(
        (await BadTokens.MakeAsync(Server, await IssueAsync()))["another audience"].Token,
        "token_for_another_resource");

    [TestCase("select token_service.set_client_enabled(@Id, false)", "token_client_gone_or_disabled")]
    [TestCase("select token_service.set_client_enabled(@Id, false), token_service.delete_client(@Id)", "token_client_gone_or_disabled")]
    [TestCase("select token_service.end_tokens_of(@Id, @now)", "tokens_of_client_revoked")]
    [TestCase("select token_service.revoke_scope(@Id, 'invoices:read')", "token_scope_withdrawn")]
    public async Task A_token_whose_client_has_changed_is_logged_with_the_reason(string change, string reason)
    {
        var client = await Database.CreateClientAsync($"client-{++number}");
        var token = await IssueAsync(client);
        await Database.ExecuteAsync(change, new { client.Id, now = Server.Clock.GetUtcNow().UtcDateTime });
        await Server.HasReceivedNotificationsAsync();

        await IsInactiveAndNamedAsync(token, reason);
    }

    [Test]
    public async Task A_token_that_its_client_revoked_is_logged_as_revoked()
    {
        var token = await IssueAsync();
        await TokenRequestBuilder.Revoke(Client, token).SendAsync(Server);

        await IsInactiveAndNamedAsync(token, "token_revoked");
    }

    [Test]
    public async Task A_client_that_speaks_for_no_resource_is_logged_as_refused() =>
        await IsAsync(await IntrospectAsync(Client, "rubbish"), $$"""
            {
              "outcome": "refused", "status": 400, "error": "unauthorized_client",
              "reason": "no_resource_server",
              "client_id": "billing", "auth_method": "client_secret_basic", "secret_id": "{{Client.Secret[5..17]}}",
              "source": "127.0.0.1", "duration_us": 0
            }
            """);

    [Test]
    public async Task A_request_without_a_token_is_logged_as_refused() =>
        await IsAsync(await IntrospectAsync(""), $$"""
            {
              "outcome": "refused", "status": 400, "error": "invalid_request", "reason": "parameter_missing", "detail": "token",
              "client_id": "api", "auth_method": "client_secret_basic", "secret_id": "{{Api.Secret[5..17]}}",
              "source": "127.0.0.1", "duration_us": 0
            }
            """);

    [Test]
    public async Task A_caller_with_a_damaged_secret_is_logged_as_refused() =>
        await IsAsync(await IntrospectAsync(Api with { Secret = "tsvc_damaged" }, await IssueAsync()), """
            {
              "outcome": "refused", "status": 401, "error": "invalid_client", "reason": "secret_damaged",
              "client_id": "api", "auth_method": "client_secret_basic", "source": "127.0.0.1", "duration_us": 0
            }
            """);

    // The event has no member "active", because the caller was not told whether the token is active.
    [Test]
    public async Task An_answer_that_cannot_be_signed_is_logged_as_refused()
    {
        await using var database = await Database.CreateAsync();
        await database.CreateClientAsync("billing");
        var api = await database.CreateApiAsync("api", Resource);
        await using var server = await TestServer.StartAsync(database);
        await server.IsListeningAsync();
        var kid = (await PublishedKey.ReadAllAsync(server))[0].Kid;
        // No sealed key matches its row now, so the server signs with none of them.
        await database.ExecuteAsync("update token_service.signing_key set public_jwk = public_jwk || '{\"use\":\"enc\"}'");
        await Soon.IsAsync("the server has no key", async () => (await PublishedKey.ReadAllAsync(server)).Count == 0);

        var answer = await TokenRequestBuilder.Introspect(api, "rubbish")
            .WithHeader("Accept", "application/token-introspection+jwt").SendAsync(server);

        answer.IsError(503, "temporarily_unavailable",
            "The server cannot answer now. Retry-After says when to ask again.", ("Retry-After", "5"));
        await IsAsync(answer, $$"""
            {
              "outcome": "refused", "status": 503, "error": "temporarily_unavailable",
              "reason": "signing_key_unavailable", "detail": "the signing key {{kid}} cannot be opened",
              "client_id": "api", "auth_method": "client_secret_basic", "secret_id": "{{api.Secret[5..17]}}",
              "source": "127.0.0.1", "duration_us": 0
            }
            """, server);
        (await TokenRequestBuilder.Introspect(api, "rubbish").SendAsync(server)).IsInactive();
    }

    // A signed answer is as confidential as its token, because it has the same claims.
    [Test]
    public async Task Tokens_and_signed_answers_are_neither_in_the_log_nor_in_an_event()
    {
        var good = await IssueAsync();
        var bad = (await BadTokens.MakeAsync(Server, good)).All.Select(bad => bad.Token);
        List<string> confidential = [good, .. bad.Where(token => token.Length > 20)];
        List<string> ids = [];
        foreach (var token in confidential.ToList())
        {
            foreach (var request in new[]
            {
                TokenRequestBuilder.Introspect(Api, token),
                TokenRequestBuilder.Introspect(Api, token).WithHeader("Accept", "application/token-introspection+jwt"),
                TokenRequestBuilder.Introspect(Api, token).With("token", token),
                TokenRequestBuilder.Introspect(Api, "x").With("token_type_hint", token),
                TokenRequestBuilder.Introspect(Client, token),
                TokenRequestBuilder.Introspect(Api with { Secret = "tsvc_damaged" }, token),
            })
            {
                // Without this the refusal throttle would delay each refusal.
                Server.Clock.Advance(TimeSpan.FromMilliseconds(2));
                var answer = await request.SendAsync(Server);
                ids.Add(answer.EventId);
                if (answer.Headers["Content-Type"].EndsWith("jwt", StringComparison.Ordinal))
                    confidential.Add(answer.Body);
            }
        }

        (await TokenRequestBuilder.Introspect(Api, good).WithMethod(HttpMethod.Get).WithPath($"/introspect?token={good}").SendAsync(Server))
            .IsError(405, "invalid_request", "This endpoint answers only POST.", ("Allow", "POST"));
        await Server.Events.OfAsync(ids[^1]);
        Assert.That(ids, Has.None.Empty);
        Assert.That(Server.Log.Lines, Has.Some.Contains("Npgsql.Command"));
        var written = string.Join('\n', Server.Log.Lines.Concat(Server.Events.Lines));
        Assert.That(confidential.Where(token => written.Contains(token, StringComparison.Ordinal)), Is.Empty);
        Assert.That(written, Does.Not.Contain(good.Split('.')[1]).And.Not.Contain(good.Split('.')[2]));
    }

    private Task IsInactiveAsync(string token, string reason) => IsInactiveAsync(token, reason, named: "");

    // The event names a token that the server itself signed.
    private Task IsInactiveAndNamedAsync(string token, string reason)
    {
        var jwt = new JsonWebToken(token);
        return IsInactiveAsync(token, reason, named: $"""
            "resource": "{jwt.Audiences.Single()}", "jti": "{jwt.Id}", "token_client_id": "{jwt.GetClaim("client_id").Value}",
            """);
    }

    private async Task IsInactiveAsync(string token, string reason, string named)
    {
        var answer = await IntrospectAsync(token);
        answer.IsInactive();
        await IsAsync(answer, $$"""
            {
              "outcome": "granted", "status": 200, "reason": "{{reason}}", {{named}}
              "client_id": "api", "auth_method": "client_secret_basic", "secret_id": "{{Api.Secret[5..17]}}",
              "active": false, "source": "127.0.0.1", "duration_us": 0
            }
            """);
    }

    private async Task IsAsync(Answer answer, string expected, TestServer? server = null)
    {
        var line = await (server ?? Server).Events.OfAsync(answer.EventId);
        var rest = line.EnumerateObject().Where(member => member.Name is not ("time" or "request_id" or "endpoint"));
        Assert.That(
            JsonElement.DeepEquals(
                JsonSerializer.SerializeToElement(rest.ToDictionary(m => m.Name, m => m.Value)), JsonElement.Parse(expected)),
            line.GetRawText());
        Assert.That(line.GetProperty("time").GetDateTimeOffset(), Is.EqualTo((server ?? Server).Clock.GetUtcNow()));
        Assert.That(line.GetProperty("endpoint").GetString(), Is.EqualTo("/introspect"));
    }
}
