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
    private static readonly string[] Ours = ["iss", "sub", "aud", "exp", "iat", "jti", "client_id", "scope"];

    private int number;

    [TestCase("""{"tenant": "north"}""")]
    [TestCase("""{"https://example.com/tier": 3, "ratio": 0.5, "large": 123456789012345678901234567890}""")]
    [TestCase("""{"yes": true, "no": false, "nothing": null}""")]
    [TestCase("""{"list": [1, "two", [3]], "object": {"a": {"b": []}}, "none": [], "empty": {}}""")]
    [TestCase("""{"Sub": "not ours", "text": "grün \" \\ \n </script> 😀", "": "no name"}""")]
    [TestCase("{}")]
    public async Task Are_in_its_tokens_as_they_are_in_the_database(string claims)
    {
        var payload = await PayloadAsync(await CreateAsync(claims));

        var extra = payload.EnumerateObject().Where(claim => !Ours.Contains(claim.Name)).ToDictionary(claim => claim.Name, claim => claim.Value);
        var expected = JsonElement.Parse(claims).EnumerateObject().ToDictionary(claim => claim.Name, claim => claim.Value);
        Assert.That(extra.Keys, Is.EquivalentTo(expected.Keys));
        foreach (var (name, value) in expected)
            Assert.That(JsonElement.DeepEquals(extra[name], value), Is.True, $"{name} is {extra[name]}");
    }

    // As deep as they may be.
    [TestCase("{\"a\":", "}")]
    [TestCase("[", "]")]
    public async Task May_be_nested_16_deep_and_the_token_is_read_again(string open, string close)
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

    // Not even where the constraint that keeps them out is gone, as after a restore gone wrong.
    [Test]
    public async Task Never_take_the_place_of_one_of_ours()
    {
        var expected = await PayloadAsync(Client);
        await Database.ExecuteAsync("alter table token_service.client drop constraint client_extra_claims_not_reserved");
        var client = await CreateAsync(
            """
            {"iss": "https://evil.example.com", "sub": "admin", "aud": ["https://other.example.com"], "exp": 9999999999, "iat": 1,
             "jti": "same", "client_id": "admin", "scope": "everything"}
            """);
        var payload = await PayloadAsync(client);

        Assert.That(payload.EnumerateObject().Select(claim => claim.Name), Is.EquivalentTo(Ours));
        using (Assert.EnterMultipleScope())
        {
            foreach (var name in new[] { "iss", "aud", "exp", "iat", "scope" })
                Assert.That(payload.GetProperty(name).GetRawText(), Is.EqualTo(expected.GetProperty(name).GetRawText()), name);
            Assert.That(payload.GetProperty("sub").GetString(), Is.EqualTo(client.Id));
            Assert.That(payload.GetProperty("client_id").GetString(), Is.EqualTo(client.Id));
            Assert.That(payload.GetProperty("jti").GetString(), Has.Length.EqualTo(22));
        }
    }

    // The database takes 1024 bytes of them, of which each of these becomes six.
    [Test, Rfc(7662, "2.2"), Rfc(7009, "2.1")]
    public async Task Make_no_token_so_long_that_we_do_not_know_it_for_ours()
    {
        var resource = "https://long.example.com/".PadRight(256, 'x');
        // 15 scopes of 128 characters, one of 113, and the spaces between them: 2048, as many as there may be.
        var scope = string.Join(' ', [.. Enumerable.Range('A', 15).Select(c => new string((char)c, 128)), new string('Z', 113)]);
        var client = await Database.CreateClientAsync(new string('x', 128), scope, scope, resource);
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

    // Whatever a token comes to have, it cannot be forgotten there.
    [Test]
    public async Task Are_refused_by_the_database_where_they_have_the_name_of_one_that_a_token_has()
    {
        // Of its own, since the test above takes the constraint away.
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
