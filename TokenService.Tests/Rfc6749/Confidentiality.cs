using Microsoft.IdentityModel.JsonWebTokens;
using Microsoft.IdentityModel.Tokens;
using TokenService.Secrets;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Rfc6749;

/// <summary>
/// A token or secret cannot be guessed, forged or changed, and the server stores and logs no copy of it.
/// </summary>
[TestFixture, Rfc(6749, "10")]
public sealed class Confidentiality : ServerFixture
{
    [Test, Rfc(6749, "10.3a")]
    public async Task A_token_changed_in_one_character_does_not_verify()
    {
        var token = (await TokenRequestBuilder.For(Client).SendAsync(Server)).Json.GetProperty("access_token").GetString()!;
        var keys = new JsonWebKeySet(await Server.Client.GetStringAsync("/.well-known/jwks.json")).GetSigningKeys();

        Assert.That(await IsSignedAsync(token, keys));
        foreach (var at in Enumerable.Range(0, token.Length - 1).Where(at => token[at] != '.' && at % 7 == 0))
        {
            var changed = $"{token[..at]}{(token[at] == 'A' ? 'B' : 'A')}{token[(at + 1)..]}";
            Assert.That(await IsSignedAsync(changed, keys), Is.False, $"changed at {at}");
        }
    }

    [Test, Rfc(6749, "10.3b")]
    public async Task Tokens_and_secrets_are_neither_stored_nor_logged()
    {
        var imported = "a secret of another system";
        await Database.AddSecretAsync(Client.Id, imported);
        await Server.HasReceivedNotificationsAsync();
        string[] secrets = [Client.Secret, imported, "wrong secret"];
        var tokens = new List<string>();
        foreach (var secret in secrets)
        {
            foreach (var request in new[] { TokenRequestBuilder.For, TokenRequestBuilder.ByPost })
            {
                var answer = await request(Client with { Secret = secret }).SendAsync(Server);
                if (answer.Status == 200)
                    tokens.Add(answer.Json.GetProperty("access_token").GetString()!);
            }
        }

        var stored = await Database.ReadAsync<string>(
            """
            select string_agg(query_to_xml(format('table %I.%I', schemaname, tablename), true, true, '')::text, '')
            from pg_tables
            where schemaname = 'token_service'
            """);
        await Soon.IsAsync("all events are written", () => Server.Events.Lines.Count >= tokens.Count);
        var logged = string.Join('\n', Server.Log.Lines.Concat(Server.Events.Lines));

        Assert.That(tokens, Has.Count.EqualTo(4));
        Assert.That((string?[])[stored, logged], Has.All.Contains(Client.Id), "database and log were both searched");
        foreach (var usable in (string[])[.. secrets, .. secrets.Select(Basic), .. tokens, .. tokens.Select(token => token.Split('.')[2])])
        {
            Assert.That(stored, Does.Not.Contain(usable));
            Assert.That(logged, Does.Not.Contain(usable));
        }

        string Basic(string secret) => TokenRequestBuilder.Base64($"{Client.Id}:{secret}");
    }

    // 43 characters out of 62 hold 256 bits. A test can only see that each position takes every value.
    [Test, Rfc(6749, "10.10")]
    public void A_generated_secret_has_43_characters_that_are_random()
    {
        var secrets = Enumerable.Range(0, 2000).Select(_ => GeneratedSecret.Create().Value).ToList();

        Assert.That(secrets, Has.All.Matches(@"\Atsvc_[0-9A-Za-z]{12}_[0-9A-Za-z]{49}\z"));
        for (var place = 18; place < 18 + 43; place++)
            Assert.That(secrets.Select(secret => secret[place]).Distinct().Count(), Is.EqualTo(62), $"place {place}");
    }

    [Test, Rfc(6749, "10.10")]
    public async Task A_token_has_an_id_of_128_random_bits()
    {
        var ids = new List<string>();
        for (var i = 0; i < 20; i++)
            ids.Add((await TokenRequestBuilder.For(Client).SendAsync(Server)).Token.Id);

        Assert.That(ids, Is.Unique.And.All.Matches(@"\A[A-Za-z0-9_-]{22}\z"));
    }

    private static async Task<bool> IsSignedAsync(string token, IEnumerable<SecurityKey> keys) =>
        (await new JsonWebTokenHandler().ValidateTokenAsync(token, new TokenValidationParameters
        {
            IssuerSigningKeys = keys,
            ValidIssuer = TestServer.Issuer,
            ValidAudience = "https://api.example.com",
            ValidTypes = ["at+jwt"],
        })).IsValid;
}
