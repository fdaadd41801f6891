using System.Buffers.Text;
using System.Text.Json;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Rfc9068;

[TestFixture, Rfc(9068, "2.2")]
public sealed class DataStructure : ServerFixture
{
    private const int DefaultLifetime = 600;

    private long Now => Server.Clock.GetUtcNow().ToUnixTimeSeconds();

    // auth_time, acr and amr are not among them (§2.2.1), nor are groups, roles and entitlements (§2.2.3.1).
    [Test, Rfc(9068, "2.2a"), Rfc(9068, "2.2b"), Rfc(9068, "2.2.1"), Rfc(9068, "2.2.3")]
    [Rfc(8725, "3.9"), Rfc(6750, "5.2a"), Rfc(6750, "5.3b")]
    public async Task It_has_these_claims_and_no_other()
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
    public async Task Its_subject_is_the_client_to_the_character([Values("Z", "0", "a.b-c_D", "billing.", "128")] string id)
    {
        var client = await Database.CreateClientAsync(id is "128" ? new string('x', 128) : id);

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

    // JSON has to write some of them in another way; a reader must get them back.
    [Test, Rfc(9068, "2.2.3")]
    public async Task A_scope_of_unusual_characters_arrives_unharmed()
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
    public async Task Its_times_are_whole_seconds_whatever_the_clock_says(double fraction)
    {
        // To the next whole second, and a part of one behind it.
        var second = Now + 1;
        Server.Clock.Advance(DateTimeOffset.FromUnixTimeSeconds(second) + TimeSpan.FromSeconds(fraction) - Server.Clock.GetUtcNow());

        IsIssued(await TokenRequestBuilder.For(Client).SendAsync(Server), at: second, DefaultLifetime);
    }

    [TestCase(60)]
    [TestCase(3599)]
    [TestCase(86400)]
    [Rfc(6749, "5.1b")]
    public async Task It_lives_as_long_as_its_client_is_given(int seconds)
    {
        var client = await Database.CreateClientAsync($"lifetime-{seconds}");
        await Database.ExecuteAsync(
            "update token_service.client set token_lifetime_seconds = @seconds where id = @id", new { seconds, id = client.Id });

        IsIssued(await TokenRequestBuilder.For(client).SendAsync(Server), at: Now, seconds);
    }

    // RFC 6750 §5.3: an hour or less, where nobody asks for more.
    [Test, Rfc(6750, "5.3a"), Rfc(6749, "5.1b")]
    public async Task It_lives_as_long_as_the_setting_says_where_its_client_does_not()
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
