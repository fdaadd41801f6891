using System.Text.Json;
using TokenService.Protocol;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Events;

/// <summary>One line of JSON for each request to an endpoint that authenticates its caller.</summary>
[TestFixture, Rfc(6749, "10.3b")]
public sealed class RequestEvents : ServerFixture
{
    [Test]
    public async Task A_grant_is_logged_with_its_token_and_scope()
    {
        var answer = await TokenRequestBuilder.For(Client).WithScope("invoices:write invoices:read").SendAsync(Server);
        answer.IsGrant("invoices:read invoices:write");

        await IsAsync(answer, $$"""
            {
              "outcome": "granted", "status": 200,
              "client_id": "billing", "auth_method": "client_secret_basic", "secret_id": "{{Client.Secret[5..17]}}",
              "resource": "https://api.example.com", "scope": "invoices:read invoices:write",
              "jti": "{{answer.Token.Id}}", "kid": "{{answer.Token.Kid}}", "source": "127.0.0.1", "duration_us": 0
            }
            """);
    }

    [Test]
    public async Task A_request_for_a_scope_that_is_not_held_is_logged_as_refused() =>
        await IsAsync(await TokenRequestBuilder.For(Client).WithScope("unheld").SendAsync(Server), $$"""
            {
              "outcome": "refused", "status": 400, "error": "invalid_scope", "reason": "scope_not_held",
              "client_id": "billing", "auth_method": "client_secret_basic", "secret_id": "{{Client.Secret[5..17]}}",
              "source": "127.0.0.1", "duration_us": 0
            }
            """);

    [Test]
    public async Task An_unknown_client_is_logged_as_refused() =>
        await IsAsync(await TokenRequestBuilder.ByPost(Client with { Id = "nobody" }).SendAsync(Server), """
            {
              "outcome": "refused", "status": 401, "error": "invalid_client", "reason": "unknown_client",
              "client_id": "nobody", "auth_method": "client_secret_post", "source": "127.0.0.1", "duration_us": 0
            }
            """);

    [Test]
    public async Task A_request_without_credentials_is_logged_as_refused() =>
        await IsAsync(await TokenRequestBuilder.Anonymous().SendAsync(Server), """
            {
              "outcome": "refused", "status": 401, "error": "invalid_client", "reason": "no_credentials",
              "source": "127.0.0.1", "duration_us": 0
            }
            """);

    [Test]
    public async Task Every_reason_is_in_the_operators_handbook()
    {
        var reasons = typeof(Reason).GetFields().Select(field => (string)field.GetRawConstantValue()!).ToList();
        var handbook = await File.ReadAllTextAsync(Repository.PathTo("scripts", "EVENTS.md"));

        Assert.That(reasons, Is.Unique.And.Not.Empty);
        Assert.That(reasons.Where(reason => !handbook.Contains($"`{reason}`", StringComparison.Ordinal)), Is.Empty);
    }

    private async Task IsAsync(Answer answer, string expected)
    {
        var line = await Server.Events.OfAsync(answer.EventId);
        var rest = line.EnumerateObject().Where(member => member.Name is not ("time" or "request_id" or "endpoint"));
        Assert.That(
            JsonElement.DeepEquals(
                JsonSerializer.SerializeToElement(rest.ToDictionary(m => m.Name, m => m.Value)),
                JsonElement.Parse(expected)),
            line.GetRawText());
        Assert.That(line.GetProperty("time").GetDateTimeOffset(), Is.EqualTo(Server.Clock.GetUtcNow()));
        Assert.That(line.GetProperty("endpoint").GetString(), Is.EqualTo("/token"));
    }
}
