using System.Text.Json;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Rfc6749;

/// <summary>The answer that carries a token.</summary>
[TestFixture, Rfc(6749, "5.1")]
public sealed class SuccessfulResponse : ServerFixture
{
    [Test, Rfc(6749, "5.1a"), Rfc(6749, "5.1c"), Rfc(6749, "5.1e")]
    public async Task A_grant_is_uncacheable_JSON_with_a_bearer_token_and_its_scope() =>
        (await TokenRequestBuilder.For(Client).SendAsync(Server)).IsGrant("invoices:read");

    [Test, Rfc(6749, "5.1a")]
    public async Task The_access_token_has_only_characters_that_a_header_can_carry()
    {
        var answer = await TokenRequestBuilder.For(Client).SendAsync(Server);

        // RFC 6750 §2.1: b64token.
        Assert.That(answer.Json.GetProperty("access_token").GetString(), Does.Match(@"\A[A-Za-z0-9._~+/-]+=*\z"));
    }

    [Rfc(6749, "5.1b")]
    [TestCase(null, 600)]
    [TestCase(60, 60)]
    [TestCase(86400, 86400)]
    public async Task The_expires_in_of_a_grant_is_the_lifetime_of_the_token_in_seconds(int? lifetime, int expiresIn)
    {
        var client = await Database.CreateClientAsync($"lives-{expiresIn}");
        await Database.ExecuteAsync(
            "update token_service.client set token_lifetime_seconds = @lifetime where id = @Id", new { client.Id, lifetime });
        Server.Clock.Advance(TimeSpan.FromSeconds(1.9)); // iat and exp drop the fraction of a second

        var answer = await TokenRequestBuilder.For(client).SendAsync(Server);

        answer.IsGrant("invoices:read", expiresIn);
        var issued = answer.Token.GetPayloadValue<long>("iat");
        Assert.That(issued, Is.EqualTo(Server.Clock.GetUtcNow().ToUnixTimeSeconds()));
        Assert.That(answer.Token.GetPayloadValue<long>("exp"), Is.EqualTo(issued + expiresIn));
    }

    // RFC 8259 §8.1: no byte order mark. A parser that meets one fails.
    [Test, Rfc(6749, "5.1a")]
    public async Task The_body_is_one_JSON_object_and_nothing_else()
    {
        var answer = await TokenRequestBuilder.For(Client).SendAsync(Server);

        Assert.That((answer.Body[0], answer.Body[^1], answer.Json.ValueKind), Is.EqualTo(('{', '}', JsonValueKind.Object)));
    }
}
