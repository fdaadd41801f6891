using System.Buffers.Text;
using System.Text.Json;
using Microsoft.AspNetCore.Authentication.JwtBearer;
using Microsoft.IdentityModel.JsonWebTokens;
using Microsoft.IdentityModel.Tokens;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Revocation;

/// <summary>An API that verifies offline, and reads the list of revoked tokens beside that. This one reads it each time; others keep it a while.</summary>
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
            TestServer.Issuer, Server.NewHandler(), configure: options => options.Events.OnTokenValidated = RefuseDeadAsync);
    }

    [TearDown]
    public async Task StopApi()
    {
        await api.DisposeAsync();
        backchannel.Dispose();
    }

    [Test]
    public async Task A_token_that_was_revoked_is_refused_and_no_other()
    {
        var (token, other) = (await IssueAsync(Client), await IssueAsync(Client));
        await IsAcceptedAsync(token);

        (await TokenRequestBuilder.Revoke(Client, token).SendAsync(Server)).IsDone(contentType: null);
        Server.Clock.Advance(TimeSpan.FromSeconds(5));

        await IsRefusedAsync(token);
        await IsAcceptedAsync(other);
    }

    [Test]
    public async Task A_token_that_was_issued_before_its_clients_not_before_is_refused_and_no_other()
    {
        var bystander = await Database.CreateClientAsync("bystander");
        var (token, others) = (await IssueAsync(Client), await IssueAsync(bystander));
        await IsAcceptedAsync(token);

        await Database.ExecuteAsync("select token_service.end_tokens_of('billing', @now)", new { now = Server.Clock.GetUtcNow().UtcDateTime });
        await Server.HasReceivedNotificationsAsync();
        Server.Clock.Advance(TimeSpan.FromSeconds(5));

        await IsRefusedAsync(token);
        await IsAcceptedAsync(others);
        await IsAcceptedAsync(await IssueAsync(Client));
    }

    // All that it takes: the list, its signature, and two questions.
    private async Task RefuseDeadAsync(TokenValidatedContext context)
    {
        var metadata = await context.Options.ConfigurationManager!.GetConfigurationAsync(CancellationToken.None);
        var address = (string)metadata.AdditionalData["revoked_tokens_uri"];
        var list = await new JsonWebTokenHandler().ValidateTokenAsync(await backchannel.GetStringAsync(address), new TokenValidationParameters
        {
            ValidTypes = ["revoked-tokens+jwt"],
            ValidIssuer = metadata.Issuer,
            ValidAudience = address,
            IssuerSigningKeys = metadata.SigningKeys,
        });
        if (!list.IsValid)
            throw list.Exception;

        var dead = JsonElement.Parse(Base64Url.DecodeFromChars(((JsonWebToken)list.SecurityToken).EncodedPayload));
        var token = (JsonWebToken)context.SecurityToken;
        if (dead.GetProperty("revoked").EnumerateArray().Any(id => id.ValueEquals(token.Id)))
            context.Fail("It was revoked.");
        else if (dead.GetProperty("not_before").TryGetProperty(token.Subject, out var last) && token.GetPayloadValue<long>("iat") <= last.GetInt64())
            context.Fail("All tokens of its client up to a later instant were revoked.");
    }

    private async Task<string> IssueAsync(TestClient client) => (await TokenRequestBuilder.For(client).SendAsync(Server)).Token.EncodedToken;

    private async Task IsAcceptedAsync(string token) =>
        Assert.That((await api.GetAsync($"Bearer {token}")).Status, Is.EqualTo(200), $"{api.Failure}");

    private async Task IsRefusedAsync(string token)
    {
        var answer = await api.GetAsync($"Bearer {token}");
        Assert.That((answer.Status, answer.Headers["WWW-Authenticate"]), Is.EqualTo((401, "Bearer error=\"invalid_token\"")));
    }
}
