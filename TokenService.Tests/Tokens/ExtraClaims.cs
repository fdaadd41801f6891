using System.Buffers.Text;
using System.Text.Json;
using Microsoft.IdentityModel.Tokens;
using Npgsql;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Tokens;

/// <summary>Claims that an admin gives to the tokens of a client.</summary>
[TestFixture]
public sealed class ExtraClaims : ServerFixture
{
    private static readonly string[] ServerClaims = ["iss", "sub", "aud", "exp", "iat", "jti", "client_id", "scope"];

    private int number;

    [TestCase("""{"tenant": "north"}""")]
    [TestCase("""{"https://example.com/tier": 3, "ratio": 0.5, "large": 123456789012345678901234567890}""")]
    [TestCase("""{"yes": true, "no": false, "nothing": null}""")]
    [TestCase("""{"list": [1, "two", [3]], "object": {"a": {"b": []}}, "none": [], "empty": {}}""")]
    [TestCase("""{"Subject": "not ours", "text": "grün \" \\ \n </script> 😀", "": "no name"}""")]
    [TestCase("{}")]
    public async Task Extra_claims_are_in_the_tokens_as_they_are_in_the_database(string claims)
    {
        var payload = await PayloadAsync(await CreateAsync(claims));

        var extra = payload.EnumerateObject()
            .Where(claim => !ServerClaims.Contains(claim.Name))
            .ToDictionary(claim => claim.Name, claim => claim.Value);
        var expected = JsonElement.Parse(claims).EnumerateObject().ToDictionary(claim => claim.Name, claim => claim.Value);
        Assert.That(extra.Keys, Is.EquivalentTo(expected.Keys));
        foreach (var (name, value) in expected)
            Assert.That(JsonElement.DeepEquals(extra[name], value), Is.True, $"{name} is {extra[name]}");
    }

    // 16 levels are the most that the database accepts.
    [TestCase("{\"a\":", "}")]
    [TestCase("[", "]")]
    public async Task Extra_claims_may_be_nested_16_levels_deep_and_introspection_reads_the_token(string open, string close)
    {
        var deep = $$"""{"deep":{{string.Concat(Enumerable.Repeat(open, 15))}}1{{string.Concat(Enumerable.Repeat(close, 15))}}}""";
        var client = await Database.CreateClientAsync($"client-{++number}");
        await Database.ExecuteAsync("select token_service.update_client(@Id, p_extra_claims => @deep::jsonb)", new { client.Id, deep });
        var api = await Database.CreateApiAsync($"api-{number}", "https://api.example.com");

        var answer = await TokenRequestBuilder.For(client).SendAsync(Server);
        answer.IsGrant("invoices:read");
        var token = answer.Token;
        Assert.That(Base64UrlEncoder.Decode(token.EncodedPayload), Does.EndWith($",{deep[1..]}"));
        (await TokenRequestBuilder.Introspect(api, token.EncodedToken).SendAsync(Server)).IsActive(token.EncodedToken);
    }

    // The server enforces this even if the constraint is missing, for example after a restore that went wrong.
    [Test]
    public async Task Extra_claims_never_replace_a_claim_that_the_server_sets()
    {
        var expected = await PayloadAsync(Client);
        await Database.ExecuteAsync("alter table token_service.client drop constraint client_extra_claims_not_reserved");
        var client = await CreateAsync(
            """
            {"iss": "https://evil.example.com", "sub": "admin", "aud": ["https://other.example.com"], "exp": 9999999999, "iat": 1,
             "jti": "same", "client_id": "admin", "scope": "everything", "SCOPE": "everything"}
            """);
        var payload = await PayloadAsync(client);

        Assert.That(payload.EnumerateObject().Select(claim => claim.Name), Is.EquivalentTo(ServerClaims));
        using (Assert.EnterMultipleScope())
        {
            foreach (var name in new[] { "iss", "aud", "exp", "iat", "scope" })
                Assert.That(payload.GetProperty(name).GetRawText(), Is.EqualTo(expected.GetProperty(name).GetRawText()), name);
            Assert.That(payload.GetProperty("sub").GetString(), Is.EqualTo(client.Id));
            Assert.That(payload.GetProperty("client_id").GetString(), Is.EqualTo(client.Id));
            Assert.That(payload.GetProperty("jti").GetString(), Has.Length.EqualTo(22));
        }
    }

    // The database accepts 1024 bytes of extra claims. In the token, each of the characters used here takes six bytes.
    [Test, Rfc(7662, "2.2"), Rfc(7009, "2.1")]
    public async Task Extra_claims_make_no_token_too_long_for_introspection_and_revocation()
    {
        var resource = "https://long.example.com/".PadRight(256, 'x');
        // 15 scopes of 128 characters, one of 113, and the spaces between them make 2048 characters, the most allowed.
        var scope = string.Join(' ', [.. Enumerable.Range('A', 15).Select(c => new string((char)c, 128)), new string('Z', 113)]);
        var client = await Database.CreateClientAsync(new string('x', 255), scope, scope, resource);
        var api = await Database.CreateApiAsync("api-of-long", resource);
        await Database.ExecuteAsync(
            """
            update token_service.client
            set extra_claims = jsonb_build_object('x', repeat(chr(127), 1024 - length('{"x": ""}')))
            where id = @Id
            """,
            client);
        var token = (await TokenRequestBuilder.For(client).SendAsync(Server)).Token.EncodedToken;

        (await TokenRequestBuilder.Introspect(api, token).SendAsync(Server)).IsActive(token);
        (await TokenRequestBuilder.Revoke(client, token).SendAsync(Server)).IsDone(contentType: null);
        (await TokenRequestBuilder.Introspect(api, token).SendAsync(Server)).IsInactive();
    }

    // The names come from a real token, so this test fails when tokens get a claim that is not reserved.
    [Test]
    public async Task The_database_refuses_extra_claims_with_the_name_of_a_claim_that_the_server_sets()
    {
        // This test has its own database, because another test drops the constraint.
        await using var database = await Database.CreateAsync();
        await database.CreateClientAsync("billing");
        foreach (var claim in (await PayloadAsync(Client)).EnumerateObject())
        {
            var refusal = await Assert.ThrowsAsync<PostgresException>(() => database.ExecuteAsync(
                "update token_service.client set extra_claims = jsonb_build_object('tenant', 'north', @Name, null)", new { claim.Name }));
            Assert.That(refusal!.ConstraintName, Is.EqualTo("client_extra_claims_not_reserved"), claim.Name);
        }
    }

    private async Task<TestClient> CreateAsync(string claims)
    {
        var client = await Database.CreateClientAsync($"client-{++number}");
        await Database.ExecuteAsync(
            "update token_service.client set extra_claims = @claims::jsonb where id = @Id", new { client.Id, claims });
        return client;
    }

    private async Task<JsonElement> PayloadAsync(TestClient client)
    {
        var answer = await TokenRequestBuilder.For(client).SendAsync(Server);
        answer.IsGrant("invoices:read");
        return JsonElement.Parse(Base64Url.DecodeFromChars(answer.Token.EncodedPayload));
    }
}
