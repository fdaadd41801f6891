using TokenService.Tests.Harness;

namespace TokenService.Tests.Events;

/// <summary>
/// The caller with a wrong secret always gets the same answer. The event says what is wrong, where the secret as it was sent
/// shows it.
/// </summary>
[TestFixture, Rfc(6749, "2.3.1b")]
public sealed class SecretsSentWrongly : ServerFixture
{
    private const string LineBreak = "the secret ends in a line break";
    private const string Unencoded = "the secret would match if the client form-encoded it";
    private const string Imported = "p+ss%20word of another system";

    // A Kubernetes secret that was made with echo, for example.
    [Test]
    public async Task A_secret_that_ends_in_a_line_break(
        [Values] bool inBody, [Values] bool isGenerated, [Values("\n", "\r\n", "\r")] string lineBreak)
    {
        var client = isGenerated ? Client : Client with { Secret = "a secret of another system" };
        await IsRefusedAsync(
            Request(client with { Secret = client.Secret + lineBreak }, inBody),
            isGenerated ? "secret_damaged" : "secret_wrong",
            LineBreak);
    }

    [Test]
    public Task A_client_id_that_ends_in_a_line_break([Values] bool inBody) =>
        IsRefusedAsync(Request(Client with { Id = Client.Id + "\n" }, inBody), "client_id_malformed", "the client_id ends in a line break");

    // curl -u, requests-oauthlib and others send the secret as it is. The server notices once the secret was verified.
    [Test]
    public async Task A_secret_that_the_client_did_not_form_encode([Values] bool inBody)
    {
        var client = await Database.CreateClientAsync($"imported-{inBody}");
        await Database.AddSecretAsync(client.Id, Imported);
        client = client with { Secret = Imported };
        await IsRefusedAsync(Raw(client, inBody), "secret_wrong", detail: null);

        (await Request(client, !inBody).SendAsync(Server)).IsGrant("invoices:read");
        await IsRefusedAsync(Raw(client, inBody), "secret_wrong", Unencoded);
        await IsRefusedAsync(Raw(client with { Secret = Imported + "+" }, inBody), "secret_wrong", detail: null);
        await IsRefusedAsync(Raw(client with { Secret = string.Concat(Enumerable.Repeat("%41", 100)) }, inBody), "secret_wrong", detail: null);
    }

    // The server notices once the client is known.
    [TestCase("https://billing.example.com/north")]
    [TestCase("urn:clients:billing")]
    public async Task A_client_that_does_not_form_encode_the_colon_in_its_id(string id)
    {
        var client = await Database.CreateClientAsync(id);
        await IsRefusedAsync(Raw(client, inBody: false), "unknown_client", detail: null);
        (await Request(client, inBody: false).SendAsync(Server)).IsGrant("invoices:read");
        await IsRefusedAsync(Raw(client, inBody: false), "unknown_client", "the client must send the colon in its id as %3A");
    }

    private static TokenRequestBuilder Request(TestClient client, bool inBody) =>
        inBody ? TokenRequestBuilder.ByPost(client) : TokenRequestBuilder.For(client);

    private static TokenRequestBuilder Raw(TestClient client, bool inBody) => inBody
        ? TokenRequestBuilder.Anonymous().WithBody(
            $"grant_type=client_credentials&client_id={client.Id}&client_secret={client.Secret}")
        : TokenRequestBuilder.Anonymous().WithAuthorization("Basic " + TokenRequestBuilder.Base64($"{client.Id}:{client.Secret}"));

    private async Task IsRefusedAsync(TokenRequestBuilder request, string reason, string? detail)
    {
        var answer = await request.SendAsync(Server);
        answer.IsInvalidClient();
        var line = await Server.Events.OfAsync(answer.EventId);
        Assert.That(
            (line.GetProperty("reason").GetString(), line.TryGetProperty("detail", out var said) ? said.GetString() : null),
            Is.EqualTo((reason, detail)));
    }
}
