using TokenService.Protocol;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Fapi;

/// <summary>FAPI 2.0 §5.3.2.1: clients authenticate with keys, even those that still have a secret.</summary>
[TestFixture]
public sealed class SecretsUnderTheProfile : FapiFixture
{
    private TestClient client = null!;

    [OneTimeSetUp]
    public async Task MakeClient()
    {
        client = await Database.CreateClientAsync(
            "with-both", Scope, Scope, Resource, "client_secret_basic client_secret_post private_key_jwt");
        await Database.ExecuteAsync("insert into token_service.resource_server values ('with-both', 'https://api.example.com')");
    }

    [Test]
    public async Task A_secret_does_not_authenticate(
        [Values("/token", "/introspect", "/revoke")] string path, [Values] bool inBody)
    {
        var request = inBody ? TokenRequestBuilder.ByPost(client) : TokenRequestBuilder.For(client);

        await IsInvalidClientAsync(
            path == "/token" ? request.WithHeader("DPoP", Proof(First).Signed()) : request.About("any", path), Reason.SecretsOffByProfile);
    }

    [Test]
    public async Task A_key_of_the_same_client_does()
    {
        var keyed = new FapiClient(client.Id, "key", TestKey.Create(), TestKey.Create());
        await Database.AddKeyAsync(client.Id, keyed.Key, keyed.KeyId);
        await Server.HasReceivedNotificationsAsync();

        (await Request(keyed).SendAsync(Http)).IsGrant(Scope, tokenType: "DPoP");
    }
}
