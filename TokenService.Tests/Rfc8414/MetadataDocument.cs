using Microsoft.Extensions.DependencyInjection;
using TokenService.Jose;
using TokenService.Keys;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Rfc8414;

[TestFixture, Rfc(8414, "2")]
public sealed class MetadataDocument : ServerFixture
{
    private const string WellKnown = "/.well-known/oauth-authorization-server";
    private const string OpenIdPath = "/.well-known/openid-configuration";

    // The whole document, because an absent member means something too (RFC 8414 §2) and the server must not claim what
    // it does not offer. RFC 8414 §2 requires response_types_supported, and §3.2 omits what is empty; the server
    // follows §2.
    private const string Whole = """
        {
            "issuer": "http://127.0.0.1:8080",
            "token_endpoint": "http://127.0.0.1:8080/token",
            "jwks_uri": "http://127.0.0.1:8080/.well-known/jwks.json",
            "grant_types_supported": ["client_credentials"],
            "response_types_supported": [],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "private_key_jwt"],
            "token_endpoint_auth_signing_alg_values_supported": ["ES256", "ES384", "RS256", "PS256"EDWARDS],
            "introspection_endpoint": "http://127.0.0.1:8080/introspect",
            "introspection_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "private_key_jwt"],
            "introspection_endpoint_auth_signing_alg_values_supported": ["ES256", "ES384", "RS256", "PS256"EDWARDS],
            "introspection_signing_alg_values_supported": ["ES256", "ES384", "RS256", "PS256"],
            "revocation_endpoint": "http://127.0.0.1:8080/revoke",
            "revocation_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "private_key_jwt"],
            "revocation_endpoint_auth_signing_alg_values_supported": ["ES256", "ES384", "RS256", "PS256"EDWARDS],
            "dpop_signing_alg_values_supported": ["ES256", "ES384", "PS256"EDWARDS],
            "revoked_tokens_uri": "http://127.0.0.1:8080/revoked-tokens"
        }
        """;

    // OpenID Connect Discovery §3 requires the two members, and verifiers that know only this document insist on them.
    private const string OpenId = """
        ,
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": [ALGORITHMS]
        }
        """;

    private TestKey key = null!;

    [OneTimeSetUp]
    public async Task MakeClientWithKey() => key = await Database.CreateKeyClientAsync("signer");

    [Test, Rfc(8414, "2b"), Rfc(8414, "2c"), Rfc(8414, "2d"), Rfc(8414, "2f"), Rfc(8414, "2h"), Rfc(8414, "2i"), Rfc(8414, "2j")]
    [Rfc(8414, "2k"), Rfc(9449, "5.1"), Rfc(8414, "3.2a"), Rfc(9700, "2.6a")]
    public async Task The_metadata_lists_exactly_what_the_server_offers()
    {
        var answer = await Server.GetAsync(WellKnown);

        using (Assert.EnterMultipleScope())
        {
            Assert.That(answer.Status, Is.EqualTo(200));
            Assert.That(answer.Headers["Content-Type"], Is.EqualTo("application/json"));
            Assert.That(answer.Body, Is.EqualTo(Compact(Whole)));
        }
    }

    [Test, Rfc(8414, "3b")]
    public async Task The_metadata_is_also_at_the_OpenID_address_with_the_members_that_old_verifiers_insist_on()
    {
        var (answer, plain) = (await Server.GetAsync(OpenIdPath), await Server.GetAsync(WellKnown));

        using (Assert.EnterMultipleScope())
        {
            Assert.That(answer.Status, Is.EqualTo(200));
            Assert.That(answer.Body, Is.EqualTo(OpenIdDocument("ES256")));
            Assert.That(Without(answer.Headers, "ETag"), Is.EquivalentTo(Without(plain.Headers, "ETag")));
            Assert.That(answer.Headers["ETag"], Is.Not.EqualTo(plain.Headers["ETag"]));
        }
    }

    // go-oidc verifies the listed algorithms and no others, and reads the list when it starts.
    [Test]
    public async Task The_OpenID_document_lists_an_algorithm_from_when_a_resource_asks_for_it_until_its_last_key_is_gone()
    {
        await using var database = await Database.CreateAsync();
        await using var server = await TestServer.StartAsync(database, "Keys:Algorithm=PS256", "Keys:RsaKeySize=2048");
        var first = await IsListedAsync("PS256");

        await SetAsync("RS256");
        var both = await IsListedAsync("RS256,PS256");
        Assert.That(both.Headers["ETag"], Is.Not.EqualTo(first.Headers["ETag"]));
        Assert.That(
            (await server.GetAsync(OpenIdPath, ("If-None-Match", first.Headers["ETag"]))).Status, Is.EqualTo(200), "it has changed");
        Assert.That((await server.GetAsync(OpenIdPath, ("If-None-Match", both.Headers["ETag"]))).Status, Is.EqualTo(304));

        // The key has ended, and verifiers still find it for a quarter of an hour.
        await SetAsync("default");
        await IsListedAsync("RS256,PS256");
        server.Clock.Advance(TimeSpan.FromMinutes(15));
        await StepAsync();
        Assert.That((await IsListedAsync("PS256")).Headers["ETag"], Is.EqualTo(first.Headers["ETag"]));

        async Task SetAsync(string algorithm)
        {
            await database.ExecuteAsync(
                "select token_service.create_resource('https://parcels.example.com', p_signing_alg => @algorithm)", new { algorithm });
            await StepAsync();
        }

        Task<string?> StepAsync() => server.Services.GetRequiredService<KeyRotation>().StepAsync(CancellationToken.None);

        async Task<Answer> IsListedAsync(string algorithms)
        {
            var answer = await server.GetAsync(OpenIdPath);
            Assert.That(answer.Body, Is.EqualTo(OpenIdDocument(algorithms.Split(','))));
            Assert.That(answer.Headers["Cache-Control"], Is.EqualTo("public, max-age=300"));
            return answer;
        }
    }

    [Test, Rfc(8414, "3.1")]
    public async Task Credentials_do_not_change_the_metadata(
        [Values("Basic Og==", "Bearer x", "")] string authorization) =>
        AreTheSame(await Server.GetAsync(WellKnown, ("Authorization", authorization)), await Server.GetAsync(WellKnown));

    [Test, Rfc(8414, "2d")]
    public async Task Every_listed_method_authenticates_a_client()
    {
        var listed = (await Server.GetAsync(WellKnown)).Json.GetProperty("token_endpoint_auth_methods_supported");

        foreach (var method in listed.EnumerateArray())
            (await By(method.GetString()!).SendAsync(Server)).IsGrant("invoices:read");
    }

    [Test, Rfc(8414, "2d")]
    public async Task A_method_that_is_not_listed_does_not_authenticate(
        [Values("none", "client_secret_jwt")] string method) =>
        (await By(method).SendAsync(Server)).IsInvalidClient();

    [Test, Rfc(8414, "6.2")]
    public async Task The_host_of_a_request_changes_neither_metadata_nor_tokens(
        [Values("Host", "X-Forwarded-Host", "X-Original-Host", "Forwarded", "X-Forwarded-Prefix")] string header)
    {
        // The request comes from a trusted address, so the server could believe that a trusted proxy sent this header.
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
        "private_key_jwt" => TokenRequestBuilder.ByAssertion(SignedJwt.Assertion(Server, "signer", key).Signed()),
        "client_secret_jwt" => TokenRequestBuilder.Anonymous()
            .With("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
            .With("client_assertion", "e30.e30.c2lnbmF0dXJl"),
        "none" => TokenRequestBuilder.Anonymous().With("client_id", Client.Id),
        _ => throw new AssertionException($"The metadata lists {method}, which this test cannot do."),
    };

    private static string OpenIdDocument(params string[] algorithms)
    {
        var list = string.Join(',', algorithms.Select(name => $"\"{name}\""));
        return Compact(Whole.TrimEnd()[..^1] + OpenId.Replace("ALGORITHMS", list, StringComparison.Ordinal));
    }

    // Ed25519 needs libsodium (RFC 9864 §2.2 has its two names).
    private static string Compact(string json) => string.Concat(json.Where(c => !char.IsWhiteSpace(c)))
        .Replace("EDWARDS", Libsodium.IsAvailable ? ",\"Ed25519\",\"EdDSA\"" : "", StringComparison.Ordinal);

    private static IEnumerable<KeyValuePair<string, string>> Without(IReadOnlyDictionary<string, string> headers, string name) =>
        headers.Where(header => header.Key != name);

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
