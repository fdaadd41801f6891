using System.Buffers.Text;
using System.Text.Json;
using Microsoft.AspNetCore.Authentication.JwtBearer;
using Microsoft.IdentityModel.JsonWebTokens;
using Microsoft.IdentityModel.Tokens;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Revocation;

/// <summary>
/// An API that verifies tokens offline and also reads the list of revoked tokens. This API reads the list for every
/// request; others cache it.
/// </summary>
[TestFixture, Rfc(7009, "2.1d"), Rfc(6750, "3.1")]
public sealed class RevokedTokensAtAnApi : ServerFixture
{
    private HttpClient backchannel = null!;
    private ProtectedApi api = null!;

    [SetUp]
    public async Task StartApi()
    {
        backchannel = Server.NewClient();
        api = await ProtectedApi.StartAsync(
            TestServer.Issuer, Server.NewHandler(),
            configure: options => options.Events.OnTokenValidated = RefuseRevokedAsync);
    }

    [TearDown]
    public async Task StopApi()
    {
        await api.DisposeAsync();
        backchannel.Dispose();
    }

    [Test]
    public async Task A_revoked_token_is_refused_and_no_other()
    {
        var (token, other) = (await IssueAsync(Client), await IssueAsync(Client));
        await IsAcceptedAsync(token);

        (await TokenRequestBuilder.Revoke(Client, token).SendAsync(Server)).IsDone(contentType: null);
        Server.Clock.Advance(TimeSpan.FromSeconds(5));

        await IsRefusedAsync(token);
        await IsAcceptedAsync(other);
    }

    [Test]
    public async Task A_token_from_before_the_not_before_of_its_client_is_refused_and_no_other()
    {
        var bystander = await Database.CreateClientAsync("bystander");
        var (token, others) = (await IssueAsync(Client), await IssueAsync(bystander));
        await IsAcceptedAsync(token);

        await Database.ExecuteAsync(
            "select token_service.end_tokens_of('billing', @now)", new { now = Server.Clock.GetUtcNow().UtcDateTime });
        await Server.HasReceivedNotificationsAsync();
        Server.Clock.Advance(TimeSpan.FromSeconds(5));

        await IsRefusedAsync(token);
        await IsAcceptedAsync(others);
        await IsAcceptedAsync(await IssueAsync(Client));
    }

    // An API needs no more than this: the list, its signature, and two comparisons.
    private async Task RefuseRevokedAsync(TokenValidatedContext context)
    {
        var metadata = await context.Options.ConfigurationManager!.GetConfigurationAsync(CancellationToken.None);
        var address = (string)metadata.AdditionalData["revoked_tokens_uri"];
        var jwt = await backchannel.GetStringAsync(address);
        var list = await new JsonWebTokenHandler().ValidateTokenAsync(jwt, new TokenValidationParameters
        {
            ValidTypes = ["revoked-tokens+jwt"],
            ValidIssuer = metadata.Issuer,
            ValidAudience = address,
            IssuerSigningKeys = metadata.SigningKeys,
        });
        if (!list.IsValid)
            throw list.Exception;

        var revoked = JsonElement.Parse(Base64Url.DecodeFromChars(((JsonWebToken)list.SecurityToken).EncodedPayload));
        var token = (JsonWebToken)context.SecurityToken;
        if (revoked.GetProperty("revoked").EnumerateArray().Any(id => id.ValueEquals(token.Id)))
            context.Fail("It was revoked.");
        else if (revoked.GetProperty("not_before").TryGetProperty(token.Subject, out var last)
            && token.GetPayloadValue<long>("iat") <= last.GetInt64())
            context.Fail("All tokens of its client up to a later instant were revoked.");
    }

    private async Task<string> IssueAsync(TestClient client) =>
        (await TokenRequestBuilder.For(client).SendAsync(Server)).Token.EncodedToken;

    private async Task IsAcceptedAsync(string token) =>
        Assert.That((await api.GetAsync($"Bearer {token}")).Status, Is.EqualTo(200), $"{api.Failure}");

    private async Task IsRefusedAsync(string token)
    {
        var answer = await api.GetAsync($"Bearer {token}");
        Assert.That((answer.Status, answer.Headers["WWW-Authenticate"]), Is.EqualTo((401, "Bearer error=\"invalid_token\"")));
    }
}
