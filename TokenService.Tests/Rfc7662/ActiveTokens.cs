using Microsoft.IdentityModel.JsonWebTokens;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Rfc7662;

/// <summary>The answer about an active token, compared character by character.</summary>
[TestFixture, Rfc(7662, "2.2")]
public sealed class ActiveTokens : IntrospectionFixture
{
    private const string Ledger = "https://ledger.example.com";

    private int number;

    [Test, Rfc(7662, "2.2a"), Rfc(7662, "2.2c"), Rfc(7662, "2.2d"), Rfc(7662, "4c")]
    public async Task The_answer_has_every_claim_of_the_token()
    {
        var token = await IssueAsync("invoices:write invoices:read");
        var (id, issuedAt) = (new JsonWebToken(token).Id, Server.Clock.GetUtcNow().ToUnixTimeSeconds());

        (await IntrospectAsync(token)).IsDone(
            $$"""
            {"active":true,"token_type":"Bearer","iss":"{{TestServer.Issuer}}","sub":"billing","client_id":"billing",
            "aud":"https://api.example.com","scope":"invoices:read invoices:write",
            "iat":{{issuedAt}},"exp":{{issuedAt + 600}},"jti":"{{id}}"}
            """.ReplaceLineEndings(""));
    }

    [Test, Rfc(7662, "2.2c")]
    public async Task A_repeated_introspection_gets_the_same_answer()
    {
        var token = await IssueAsync();
        var first = await IntrospectAsync(token);
        Server.Clock.Advance(TimeSpan.FromSeconds(90));

        first.IsActive(token);
        (await IntrospectAsync(token)).IsActive(token);
    }

    [Test, Rfc(7662, "2.2c")]
    public async Task A_caller_that_speaks_for_two_resources_may_introspect_tokens_for_both()
    {
        var ledger = await Database.CreateClientAsync("ledger-reader", "ledger:read", "ledger:read", Ledger);
        var api = await Database.CreateApiAsync("gateway", Resource, Ledger);
        var (one, other) = (await IssueAsync(), await IssueAsync(ledger, "ledger:read"));

        (await IntrospectAsync(api, one)).IsActive(one);
        (await IntrospectAsync(api, other)).IsActive(other);
        (await IntrospectAsync(other)).IsInactive();
    }

    [Test, Rfc(7662, "2.2c")]
    public async Task Two_callers_that_speak_for_one_resource_get_the_same_answer()
    {
        var (twin, token) = (await Database.CreateApiAsync("twin", Resource), await IssueAsync());

        Assert.That((await IntrospectAsync(twin, token)).Body, Is.EqualTo((await IntrospectAsync(token)).Body));
        (await IntrospectAsync(twin, token)).IsActive(token);
    }

    // RFC 7662 §2.2: an answer may have service-specific members.
    [TestCase("""{"tenant": "north"}""", """{"tenant":"north"}""")]
    [TestCase("""{"ratio": 0.5, "large": 123456789012345678901234567890}""", """{"large":123456789012345678901234567890,"ratio":0.5}""")]
    [TestCase("""{"list": [1, "two", null], "object": {"a": {"b": []}}}""", """{"list":[1,"two",null],"object":{"a":{"b":[]}}}""")]
    [TestCase("""{"text": "grün \" \\ \n", "": "no name"}""", """{"":"no name","text":"grün \" \\ \n"}""")]
    // The names active and token_type mean something only in this answer, so the database allows them as extra claims.
    [TestCase("""{"active": false}""", """{}""")]
    [TestCase("""{"active": true, "token_type": "DPoP"}""", """{}""")]
    [TestCase("""{"token_type": "N_A", "tenant": "north"}""", """{"tenant":"north"}""")]
    [TestCase("""{"Active": false, "actıve": 0}""", """{"Active":false,"actıve":0}""")]
    [Rfc(7662, "2.2a"), Rfc(7662, "2.2c")]
    public async Task Extra_claims_are_in_the_answer_except_active_and_token_type(string claims, string members)
    {
        var client = await Database.CreateClientAsync($"client-{++number}");
        await Database.ExecuteAsync(
            "update token_service.client set extra_claims = @claims::jsonb where id = @Id", new { client.Id, claims });
        var token = await IssueAsync(client);
        var issued = new JsonWebToken(token);

        (await IntrospectAsync(token)).IsDone(
            $$"""
            {"active":true,"token_type":"Bearer","iss":"{{TestServer.Issuer}}","sub":"{{client.Id}}","client_id":"{{client.Id}}",
            "aud":"https://api.example.com","scope":"invoices:read",
            "iat":{{Seconds(issued.IssuedAt)}},"exp":{{Seconds(issued.ValidTo)}},
            "jti":"{{issued.Id}}"{{(members == "{}" ? "" : "," + members[1..^1])}}}
            """.ReplaceLineEndings(""));
    }

    // A gateway between an API and this server may cache answers unless it is told not to.
    [Test, Rfc(7662, "4c")]
    public async Task An_answer_is_not_cacheable()
    {
        var token = await IssueAsync();
        foreach (var answer in new[] { await IntrospectAsync(token), await IntrospectAsync("rubbish") })
        {
            Assert.That(answer.Headers["Cache-Control"], Is.EqualTo("no-store"));
            Assert.That(answer.Headers.Keys, Has.None.EqualTo("ETag").And.None.EqualTo("Expires").And.None.EqualTo("Last-Modified"));
        }
    }

    private static long Seconds(DateTime time) => new DateTimeOffset(time).ToUnixTimeSeconds();
}
