using System.Text.Json;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Rfc7523;

/// <summary>A server with a client, "signer", that authenticates with the key k1.</summary>
public abstract class AssertionFixture : ServerFixture
{
    private protected TestKey Key { get; private set; } = null!;

    [OneTimeSetUp]
    public async Task MakeClient() => Key = await Database.CreateKeyClientAsync("signer");

    private protected SignedJwt Assertion(TestKey? key = null, string? kid = "k1") =>
        SignedJwt.Assertion(Server, "signer", key ?? Key, kid);

    private protected Task<Answer> SendAsync(SignedJwt assertion) => SendAsync(assertion.Signed());

    private protected Task<Answer> SendAsync(string jwt) => TokenRequestBuilder.ByAssertion(jwt).SendAsync(Server);

    private protected async Task IsGrantedAsync(SignedJwt assertion) => (await SendAsync(assertion)).IsGrant();

    /// <summary>The answer is that of every failed authentication, and the event has the reason.</summary>
    private protected Task<JsonElement> IsRefusedAsync(SignedJwt assertion, string reason) => IsRefusedAsync(assertion.Signed(), reason);

    private protected async Task<JsonElement> IsRefusedAsync(string jwt, string reason)
    {
        var answer = await SendAsync(jwt);
        answer.IsInvalidClient();
        var line = await Server.Events.OfAsync(answer.RequestId);
        Assert.That(line.GetProperty("reason").GetString(), Is.EqualTo(reason));
        return line;
    }
}
