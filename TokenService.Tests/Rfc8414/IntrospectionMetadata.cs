using TokenService.Tests.Harness;

namespace TokenService.Tests.Rfc8414;

/// <summary>
/// The metadata about introspection is true. <see cref="MetadataDocument"/> checks which members the metadata has.
/// </summary>
[TestFixture, Rfc(8414, "2"), Rfc(8414, "2f")]
public sealed class IntrospectionMetadata : IntrospectionFixture
{
    private TestKey key = null!;

    [OneTimeSetUp]
    public async Task MakeApiWithKey()
    {
        key = await Database.CreateKeyClientAsync("signer");
        await Database.ExecuteAsync("insert into token_service.resource_server values ('signer', 'https://api.example.com')");
    }

    [Test]
    public async Task Every_listed_method_authenticates_a_caller_at_the_introspection_endpoint()
    {
        var metadata = (await Server.GetAsync("/.well-known/oauth-authorization-server")).Json;
        var path = new Uri(metadata.GetProperty("introspection_endpoint").GetString()!).AbsolutePath;
        var token = await IssueAsync();

        foreach (var method in metadata.GetProperty("introspection_endpoint_auth_methods_supported").EnumerateArray())
            (await By(method.GetString()!).About(token, path).SendAsync(Server)).IsActive(token);
    }

    // An issuer with a path has its endpoints below it (RFC 8414 §3.1).
    [Test, Rfc(8414, "3.1")]
    public async Task The_introspection_endpoint_is_below_the_issuer()
    {
        await using var server = await TestServer.StartAsync(Database, "Issuer=http://127.0.0.1:8080/tenant");
        var metadata = (await server.GetAsync("/.well-known/oauth-authorization-server/tenant")).Json;

        Assert.That(metadata.GetProperty("introspection_endpoint").GetString(), Is.EqualTo("http://127.0.0.1:8080/tenant/introspect"));
        (await TokenRequestBuilder.For(Api).About("rubbish", "/tenant/introspect").SendAsync(server)).IsInactive();
    }

    private TokenRequestBuilder By(string method) => method switch
    {
        "client_secret_basic" => TokenRequestBuilder.For(Api),
        "client_secret_post" => TokenRequestBuilder.ByPost(Api),
        "private_key_jwt" => TokenRequestBuilder.ByAssertion(SignedJwt.Assertion(Server, "signer", key).Signed()),
        _ => throw new AssertionException($"The metadata lists {method}, which this test cannot do."),
    };
}
