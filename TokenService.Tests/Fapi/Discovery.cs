using System.Text.Json;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Fapi;

/// <summary>The suite's demands on the metadata, which it reads at either address.</summary>
[TestFixture("/.well-known/oauth-authorization-server"), TestFixture("/.well-known/openid-configuration")]
[FapiModule("discovery-end-point-verification"), Rfc(8414, "2"), Rfc(8414, "3.3")]
public sealed class Discovery(string path) : FapiFixture
{
    private static readonly string[] Asymmetric = ["PS256", "ES256", "EdDSA", "Ed25519"];

    private JsonElement metadata;

    [OneTimeSetUp]
    public async Task ReadMetadata()
    {
        var answer = await TokenRequestBuilder.Anonymous().WithMethod(HttpMethod.Get).WithPath(path).SendAsync(Http);
        Assert.That((answer.Status, answer.Headers["Content-Type"]), Is.EqualTo((200, "application/json")));
        metadata = answer.Json;
    }

    [Test]
    public void The_issuer_is_the_address_that_the_metadata_was_found_under()
    {
        var issuer = new Uri(Text("issuer"));

        using (Assert.EnterMultipleScope())
        {
            Assert.That(Text("issuer"), Is.EqualTo(Issuer));
            Assert.That((issuer.Scheme, issuer.Query, issuer.Fragment, issuer.UserInfo), Is.EqualTo(("https", "", "", "")));
        }
    }

    // The suite checks the types by the JSON schema of RFC 8414: text, or a list of texts.
    [Test]
    public void Every_member_has_the_type_that_its_name_asks_for()
    {
        using (Assert.EnterMultipleScope())
        {
            foreach (var member in metadata.EnumerateObject())
            {
                var isList = member.Name.EndsWith("_supported", StringComparison.Ordinal);
                Assert.That(member.Value.ValueKind, Is.EqualTo(isList ? JsonValueKind.Array : JsonValueKind.String), member.Name);
                if (isList)
                    Assert.That(member.Value.EnumerateArray(), Is.All.Property("ValueKind").EqualTo(JsonValueKind.String), member.Name);
                else
                    Assert.That(member.Value.GetString(), Does.StartWith("https://"), member.Name);
            }
        }
    }

    [Test]
    public void The_client_credentials_grant_is_supported() =>
        Assert.That(List("grant_types_supported"), Does.Contain("client_credentials"));

    [Test]
    public void Clients_may_authenticate_by_assertions_of_an_allowed_algorithm()
    {
        Assert.That(List("token_endpoint_auth_methods_supported"), Does.Contain("private_key_jwt"));
        Assert.That(List("token_endpoint_auth_signing_alg_values_supported").Intersect(Asymmetric), Is.Not.Empty);
    }

    [Test, Rfc(9449, "5.1")]
    public void Proofs_may_have_an_allowed_algorithm() =>
        Assert.That(List("dpop_signing_alg_values_supported").Intersect(Asymmetric), Does.Contain("PS256"));

    // The suite warns of each member that nobody registered; "allow_unexpected_metadata_fields" in its configuration names
    // the one that is there on purpose.
    [Test]
    public void One_member_is_not_registered() => Assert.That(
        metadata.EnumerateObject().Select(member => member.Name).Except(Registered), Is.EqualTo(["revoked_tokens_uri"]));

    // RFC 8414 §7.1.2, with what later documents added: RFC 9449 §12.8 and RFC 9701 §10.2; OpenID Connect Discovery §3.
    private static readonly string[] Registered =
    [
        "issuer", "token_endpoint", "jwks_uri", "grant_types_supported", "response_types_supported",
        "token_endpoint_auth_methods_supported", "token_endpoint_auth_signing_alg_values_supported",
        "introspection_endpoint", "introspection_endpoint_auth_methods_supported",
        "introspection_endpoint_auth_signing_alg_values_supported", "introspection_signing_alg_values_supported",
        "revocation_endpoint", "revocation_endpoint_auth_methods_supported",
        "revocation_endpoint_auth_signing_alg_values_supported", "dpop_signing_alg_values_supported",
        "subject_types_supported", "id_token_signing_alg_values_supported",
    ];

    private string Text(string name) => metadata.GetProperty(name).GetString()!;

    private IEnumerable<string> List(string name) => metadata.GetProperty(name).EnumerateArray().Select(item => item.GetString()!);
}
