using TokenService.Jose;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Fapi;

/// <summary>The metadata names what the profile allows, and nothing else.</summary>
[TestFixture, Rfc(8414, "2")]
public sealed class MetadataOfTheProfile : FapiFixture
{
    // Ed25519 needs libsodium, which not every machine has.
    private static readonly string Algorithms = Libsodium.IsAvailable ? "\"ES256\",\"PS256\",\"Ed25519\",\"EdDSA\"" : "\"ES256\",\"PS256\"";

    // The resource asks for an algorithm that the profile rules out.
    [OneTimeSetUp]
    public Task AskForRs256() => Database.ExecuteAsync(
        "select token_service.create_resource('https://old.example.com', p_signing_alg => 'RS256', p_at_once => true)");

    [Test]
    public async Task It_lists_keys_and_the_newer_algorithms() => await IsAsync(
        "/.well-known/oauth-authorization-server", Http, Whole(Issuer) + $",\"revoked_tokens_uri\":\"{Issuer}/revoked-tokens\"}}");

    [Test]
    public async Task The_OpenID_document_lists_the_same() => await IsAsync(
        "/.well-known/openid-configuration",
        Http,
        Whole(Issuer) + $",\"revoked_tokens_uri\":\"{Issuer}/revoked-tokens\""
            + ",\"subject_types_supported\":[\"public\"],\"id_token_signing_alg_values_supported\":[\"ES256\"]}");

    [Test]
    public async Task It_has_no_unregistered_member_if_the_operator_says_so([Values] bool isFapi)
    {
        await using var server = await TestServer.StartAtItsIssuerAsync(
            Database, Certificate, [.. isFapi ? Standard : [], "Metadata:OmitUnregistered=true"]);
        using var http = new HttpClient(Certificate.NewHandler()) { BaseAddress = server.Address };

        if (isFapi)
            await IsAsync("/.well-known/oauth-authorization-server", http, Whole(server.Address.OriginalString) + "}");
        var document = await GetAsync("/.well-known/oauth-authorization-server", http);
        Assert.That(document.Json.TryGetProperty("revoked_tokens_uri", out _), Is.False);
        Assert.That((await GetAsync("/revoked-tokens", http)).Status, Is.EqualTo(200), "the list itself is there");
    }

    private static string Whole(string issuer) => string.Concat(
        $$"""
        {
            "issuer": "{{issuer}}",
            "token_endpoint": "{{issuer}}/token",
            "jwks_uri": "{{issuer}}/.well-known/jwks.json",
            "grant_types_supported": ["client_credentials"],
            "response_types_supported": [],
            "token_endpoint_auth_methods_supported": ["private_key_jwt"],
            "token_endpoint_auth_signing_alg_values_supported": [{{Algorithms}}],
            "introspection_endpoint": "{{issuer}}/introspect",
            "introspection_endpoint_auth_methods_supported": ["private_key_jwt"],
            "introspection_endpoint_auth_signing_alg_values_supported": [{{Algorithms}}],
            "introspection_signing_alg_values_supported": ["ES256", "PS256"],
            "revocation_endpoint": "{{issuer}}/revoke",
            "revocation_endpoint_auth_methods_supported": ["private_key_jwt"],
            "revocation_endpoint_auth_signing_alg_values_supported": [{{Algorithms}}],
            "dpop_signing_alg_values_supported": [{{Algorithms}}]
        """.Where(c => !char.IsWhiteSpace(c)));

    private static async Task IsAsync(string path, HttpClient http, string expected)
    {
        var answer = await GetAsync(path, http);
        Assert.That((answer.Status, answer.Headers["Content-Type"], answer.Body), Is.EqualTo((200, "application/json", expected)));
    }

    private static Task<Answer> GetAsync(string path, HttpClient http) =>
        TokenRequestBuilder.Anonymous().WithMethod(HttpMethod.Get).WithPath(path).SendAsync(http);
}
