using System.Text.Json.Nodes;
using TokenService.Protocol;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Fapi;

/// <summary>
/// FAPI 2.0 §5.3.2.1: the aud of an assertion is the issuer. The suite sends one wrong address here. The other cases are
/// those of its modules for the pushed authorization request, which this grant does not have.
/// </summary>
[TestFixture, FapiModule("ensure-client-assertion-with-wrong-aud-fails"), Rfc(7523, "3b")]
public sealed class WrongAudience : FapiFixture
{
    [Test]
    public async Task Another_address_is_refused() => await IsRefusedAsync("https://invalid.example.com/");

    [Test]
    public async Task An_address_below_the_issuer_is_refused(
        [Values("/", "/token", "/introspect", "/.well-known/jwks.json")] string path) =>
        await IsRefusedAsync(Issuer + path);

    [Test]
    public async Task A_list_with_a_second_address_is_refused() =>
        await IsRefusedAsync(new JsonArray(Issuer, "https://other.example.com"));

    // An admin may allow this to a client for a while, and it is no use under the profile.
    [Test]
    public async Task The_token_endpoint_is_refused_even_if_the_client_may_send_it()
    {
        await Database.ExecuteAsync(
            "update token_service.client set token_endpoint_audience_until = @at where id = @Id",
            new { Second.Id, at = Server.Clock.GetUtcNow() + TimeSpan.FromDays(1) });
        await Server.HasReceivedNotificationsAsync();

        await IsInvalidClientAsync(Request(Second, Assertion(Second).WithClaim("aud", $"{Issuer}/token")), Reason.AssertionAudienceWrong);
        (await Request(Second).SendAsync(Http)).IsGrant(Scope, tokenType: "DPoP");
    }

    private Task IsRefusedAsync(JsonNode audience) =>
        IsInvalidClientAsync(Request(First, Assertion(First).WithClaim("aud", audience)), Reason.AssertionAudienceWrong);
}
