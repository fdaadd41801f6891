using TokenService.Tests.Harness;

namespace TokenService.Tests.Rfc8414;

[TestFixture, Rfc(8414, "2")]
public sealed class MetadataDocument : ServerFixture
{
    private const string WellKnown = "/.well-known/oauth-authorization-server";

    // All of it: what is absent means something too (§2), and what is not offered must not be claimed.
    // Of §2's "required" and §3.2's "omitted when empty", response_types_supported keeps to the first.
    private const string Whole = """
        {
            "issuer": "http://127.0.0.1:8080",
            "token_endpoint": "http://127.0.0.1:8080/token",
            "jwks_uri": "http://127.0.0.1:8080/.well-known/jwks.json",
            "grant_types_supported": ["client_credentials"],
            "response_types_supported": [],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
            "introspection_endpoint": "http://127.0.0.1:8080/introspect",
            "introspection_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
            "introspection_signing_alg_values_supported": ["ES256", "ES384", "RS256", "PS256"],
            "revocation_endpoint": "http://127.0.0.1:8080/revoke",
            "revocation_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
            "revoked_tokens_uri": "http://127.0.0.1:8080/revoked-tokens"
        }
        """;

    [Test, Rfc(8414, "2b"), Rfc(8414, "2c"), Rfc(8414, "2d"), Rfc(8414, "2f"), Rfc(8414, "2h"), Rfc(8414, "3.2a"), Rfc(9700, "2.6a")]
    public async Task It_says_what_works_and_nothing_else()
    {
        var answer = await Server.GetAsync(WellKnown);

        using (Assert.EnterMultipleScope())
        {
            Assert.That(answer.Status, Is.EqualTo(200));
            Assert.That(answer.Headers["Content-Type"], Is.EqualTo("application/json"));
            Assert.That(answer.Body, Is.EqualTo(string.Concat(Whole.Where(c => !char.IsWhiteSpace(c)))));
        }
    }

    [Test, Rfc(8414, "3b")]
    public async Task It_has_another_address_for_old_verifiers() =>
        AreTheSame(await Server.GetAsync("/.well-known/openid-configuration"), await Server.GetAsync(WellKnown));

    [Test, Rfc(8414, "3.1")]
    public async Task Credentials_make_no_difference([Values("Basic Og==", "Bearer x", "")] string authorization) =>
        AreTheSame(await Server.GetAsync(WellKnown, ("Authorization", authorization)), await Server.GetAsync(WellKnown));

    [Test, Rfc(8414, "2d")]
    public async Task Every_method_it_lists_authenticates_a_client()
    {
        var listed = (await Server.GetAsync(WellKnown)).Json.GetProperty("token_endpoint_auth_methods_supported");

        foreach (var method in listed.EnumerateArray())
            (await By(method.GetString()!).SendAsync(Server)).IsGrant("invoices:read");
    }

    [Test, Rfc(8414, "2d")]
    public async Task No_other_method_does([Values("none", "client_secret_jwt")] string method) =>
        (await By(method).SendAsync(Server)).IsInvalidClient();

    [Test, Rfc(8414, "6.2")]
    public async Task The_host_a_request_names_changes_nothing(
        [Values("Host", "X-Forwarded-Host", "X-Original-Host", "Forwarded", "X-Forwarded-Prefix")] string header)
    {
        // A header a proxy of ours could send: the request comes from a trusted address.
        var value = header is "Forwarded" ? "host=evil.example;proto=https" : "evil.example";

        var metadata = await Server.GetAsync(WellKnown, (header, value));
        var grant = await TokenRequestBuilder.For(Client).WithHeader(header, value).SendAsync(Server);

        using (Assert.EnterMultipleScope())
        {
            Assert.That(metadata.Body, Is.EqualTo((await Server.GetAsync(WellKnown)).Body));
            Assert.That(grant.Token.Issuer, Is.EqualTo(TestServer.Issuer));
        }
    }

    private TokenRequestBuilder By(string method) => method switch
    {
        "client_secret_basic" => TokenRequestBuilder.For(Client),
        "client_secret_post" => TokenRequestBuilder.ByPost(Client),
        "client_secret_jwt" => TokenRequestBuilder.Anonymous()
            .With("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
            .With("client_assertion", "e30.e30.c2lnbmF0dXJl"),
        "none" => TokenRequestBuilder.Anonymous().With("client_id", Client.Id),
        _ => throw new AssertionException($"The metadata lists {method}, which this test cannot do."),
    };

    private static void AreTheSame(Answer answer, Answer expected)
    {
        using (Assert.EnterMultipleScope())
        {
            Assert.That(answer.Status, Is.EqualTo(expected.Status));
            Assert.That(answer.Headers, Is.EquivalentTo(expected.Headers));
            Assert.That(answer.Body, Is.EqualTo(expected.Body));
        }
    }
}
