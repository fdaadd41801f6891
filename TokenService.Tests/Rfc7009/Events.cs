using System.Text.Json;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Rfc7009;

/// <summary>Each revocation request writes one event, which tells the operator what the caller is not told.</summary>
[TestFixture, Rfc(7009, "2.2"), Rfc(6749, "10.3b")]
public sealed class Events : ServerFixture
{
    private string Caller => $"""
        "client_id": "billing", "auth_method": "client_secret_basic", "secret_id": "{Client.Secret[5..17]}",
        "source": "127.0.0.1", "duration_us": 0
        """;

    [Test]
    public async Task A_revocation_is_logged_with_the_token_and_its_client()
    {
        var token = (await TokenRequestBuilder.For(Client).SendAsync(Server)).Token;
        var expected = $$"""
            {
              "outcome": "granted", "status": 200, "jti": "{{token.Id}}", "token_client_id": "billing",
              "resource": "https://api.example.com", {{Caller}}
            }
            """;

        await IsAsync(await TokenRequestBuilder.Revoke(Client, token.EncodedToken).SendAsync(Server), expected);
        await IsAsync(await TokenRequestBuilder.Revoke(Client, token.EncodedToken).SendAsync(Server), expected);
    }

    [Test]
    public async Task A_malformed_token_is_logged_as_malformed() =>
        await IsAsync(await TokenRequestBuilder.Revoke(Client, "rubbish").SendAsync(Server), $$"""
            {"outcome": "granted", "status": 200, "reason": "token_malformed", {{Caller}}}
            """);

    [Test]
    public async Task A_token_of_another_client_is_logged_with_that_reason()
    {
        var other = await Database.CreateClientAsync("other");
        var token = (await TokenRequestBuilder.For(other).SendAsync(Server)).Token;

        await IsAsync(await TokenRequestBuilder.Revoke(Client, token.EncodedToken).SendAsync(Server), $$"""
            {
              "outcome": "granted", "status": 200, "reason": "token_of_another_client", "jti": "{{token.Id}}",
              "token_client_id": "other", "resource": "https://api.example.com", {{Caller}}
            }
            """);
    }

    [Test]
    public async Task A_request_without_a_token_is_logged_as_refused() =>
        await IsAsync(await TokenRequestBuilder.Revoke(Client, "").SendAsync(Server), $$"""
            {
              "outcome": "refused", "status": 400, "error": "invalid_request", "reason": "parameter_missing",
              "detail": "token", {{Caller}}
            }
            """);

    [Test]
    public async Task A_revocation_that_the_full_list_has_no_room_for_is_logged_as_refused()
    {
        var many = await Database.CreateClientAsync("many");
        await Database.ExecuteAsync(
            """
            insert into token_service.revoked_token (jti, client_id, expires_at)
            select 'many-' || n, 'many', now() + interval '1 hour' from generate_series(1, 200) n;
            insert into token_service.self_revocation (client_id, not_before)
            select lpad(n::text, 128, '0'), now() from generate_series(1, 212) n
            """);
        var token = (await TokenRequestBuilder.For(many).SendAsync(Server)).Token.EncodedToken;
        try
        {
            await IsAsync(await TokenRequestBuilder.Revoke(many, token).SendAsync(Server), $$"""
                {
                  "outcome": "refused", "status": 503, "error": "temporarily_unavailable",
                  "reason": "too_many_revocations", "client_id": "many", "auth_method": "client_secret_basic",
                  "secret_id": "{{many.Secret[5..17]}}", "source": "127.0.0.1", "duration_us": 0
                }
                """);
        }
        finally
        {
            await Database.ExecuteAsync("truncate token_service.revoked_token, token_service.self_revocation");
        }
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
        Assert.That(line.GetProperty("endpoint").GetString(), Is.EqualTo("/revoke"));
    }
}
