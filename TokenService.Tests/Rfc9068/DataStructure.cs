using System.Buffers.Text;
using System.Text.Json;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Rfc9068;

[TestFixture, Rfc(9068, "2.2")]
public sealed class DataStructure : ServerFixture
{
    private const int DefaultLifetime = 600;

    private long Now => Server.Clock.GetUtcNow().ToUnixTimeSeconds();

    // A token has no auth_time, acr and amr (RFC 9068 §2.2.1) and no groups, roles and entitlements (RFC 9068
    // §2.2.3.1).
    [Test, Rfc(9068, "2.2a"), Rfc(9068, "2.2b"), Rfc(9068, "2.2.1"), Rfc(9068, "2.2.3")]
    [Rfc(8725, "3.9"), Rfc(6750, "5.2a"), Rfc(6750, "5.3b")]
    public async Task A_token_has_its_eight_claims_and_no_other()
    {
        var claims = Claims(await TokenRequestBuilder.For(Client).WithScope("invoices:write invoices:read").SendAsync(Server));

        using (Assert.EnterMultipleScope())
        {
            Assert.That(claims.EnumerateObject().Select(claim => claim.Name),
                Is.EquivalentTo(["iss", "exp", "aud", "sub", "client_id", "iat", "jti", "scope"]));
            Assert.That(claims.GetProperty("iss").GetString(), Is.EqualTo(TestServer.Issuer));
            Assert.That(claims.GetProperty("aud").GetString(), Is.EqualTo("https://api.example.com"));
            Assert.That(claims.GetProperty("sub").GetString(), Is.EqualTo("billing"));
            Assert.That(claims.GetProperty("client_id").GetString(), Is.EqualTo("billing"));
            Assert.That(claims.GetProperty("scope").GetString(), Is.EqualTo("invoices:read invoices:write"));
            Assert.That(claims.GetProperty("iat").GetRawText(), Is.EqualTo($"{Now}"));
            Assert.That(claims.GetProperty("exp").GetRawText(), Is.EqualTo($"{Now + DefaultLifetime}"));
        }
    }

    [Test, Rfc(9068, "2.2b"), Rfc(9068, "5b")]
    public async Task The_subject_of_a_token_is_its_client_id_unchanged(
        [Values("Z", "0", "a.b-c_D", "billing.", "https://a.example.com/{x}@y~z?b=c&d", "255")] string id)
    {
        var client = await Database.CreateClientAsync(id is "255" ? new string('x', 255) : id);

        var claims = Claims(await TokenRequestBuilder.For(client).SendAsync(Server));

        using (Assert.EnterMultipleScope())
        {
            Assert.That(claims.GetProperty("sub").GetString(), Is.EqualTo(client.Id));
            Assert.That(claims.GetProperty("client_id").GetString(), Is.EqualTo(client.Id));
        }
    }

    [Test, Rfc(9700, "4.15")]
    public async Task A_request_cannot_set_a_claim(
        [Values("iss", "exp", "aud", "sub", "iat", "nbf", "jti", "acr", "amr", "auth_time", "roles", "groups", "cnf", "act")] string name)
    {
        var claims = Claims(await TokenRequestBuilder.For(Client).With(name, "4102444800").SendAsync(Server));

        using (Assert.EnterMultipleScope())
        {
            Assert.That(claims.EnumerateObject().Count(), Is.EqualTo(8));
            Assert.That(claims.GetRawText(), Does.Not.Contain("4102444800"));
        }
    }

    // JSON has to escape some of these characters; a reader must get them back.
    [Test, Rfc(9068, "2.2.3")]
    public async Task A_scope_of_unusual_characters_is_unchanged_in_the_token()
    {
        const string scope = "!#$%&'()*+,-./:;<=>?@[]^_`{|}~";
        var client = await Database.CreateClientAsync("unusual", scopes: scope, defaultScopes: scope, resource: "urn:example:it's-&-+");

        var claims = Claims(await TokenRequestBuilder.For(client).SendAsync(Server));

        using (Assert.EnterMultipleScope())
        {
            Assert.That(claims.GetProperty("scope").GetString(), Is.EqualTo(scope));
            Assert.That(claims.GetProperty("aud").GetString(), Is.EqualTo("urn:example:it's-&-+"));
        }
    }

    [TestCase(0)]
    [TestCase(0.001)]
    [TestCase(0.5)]
    [TestCase(0.9999999)]
    [Rfc(9068, "2.2a"), Rfc(6749, "5.1b")]
    public async Task The_times_of_a_token_are_whole_seconds(double fraction)
    {
        // Advances to the next whole second plus a fraction.
        var second = Now + 1;
        Server.Clock.Advance(DateTimeOffset.FromUnixTimeSeconds(second) + TimeSpan.FromSeconds(fraction) - Server.Clock.GetUtcNow());

        IsIssued(await TokenRequestBuilder.For(Client).SendAsync(Server), at: second, DefaultLifetime);
    }

    [TestCase(60)]
    [TestCase(3599)]
    [TestCase(86400)]
    [Rfc(6749, "5.1b")]
    public async Task A_token_has_the_lifetime_of_its_client(int seconds)
    {
        var client = await Database.CreateClientAsync($"lifetime-{seconds}");
        await Database.ExecuteAsync(
            "update token_service.client set token_lifetime_seconds = @seconds where id = @id", new { seconds, id = client.Id });

        IsIssued(await TokenRequestBuilder.For(client).SendAsync(Server), at: Now, seconds);
    }

    // RFC 6750 §5.3: tokens should live an hour or less. Only a client's own lifetime can exceed the setting.
    [Test, Rfc(6750, "5.3a"), Rfc(6749, "5.1b")]
    public async Task A_token_of_a_client_without_a_lifetime_has_the_lifetime_of_the_setting()
    {
        await using var server = await TestServer.StartAsync(Database, "Tokens:Lifetime=00:01:30");
        var answer = await TokenRequestBuilder.For(Client).SendAsync(server);

        IsIssued(answer, at: server.Clock.GetUtcNow().ToUnixTimeSeconds(), lifetime: 90);
    }

    private static void IsIssued(Answer answer, long at, int lifetime)
    {
        answer.IsGrant("invoices:read", expiresIn: lifetime);
        var claims = Claims(answer);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(claims.GetProperty("iat").GetRawText(), Is.EqualTo($"{at}"));
            Assert.That(claims.GetProperty("exp").GetRawText(), Is.EqualTo($"{at + lifetime}"));
        }
    }

    private static JsonElement Claims(Answer answer) =>
        JsonElement.Parse(Base64Url.DecodeFromChars(answer.Token.EncodedPayload));
}
