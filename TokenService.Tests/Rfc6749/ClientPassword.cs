using System.Text;
using TokenService.Secrets;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Rfc6749;

/// <summary>A client authenticates with a secret, in the Authorization header or in the body.</summary>
[TestFixture, Rfc(6749, "2.3.1")]
public sealed class ClientPassword : ServerFixture
{
    [Test, Rfc(6749, "2.3.1a")]
    public async Task A_client_authenticates_by_HTTP_Basic() =>
        (await TokenRequestBuilder.For(Client).SendAsync(Server)).IsGrant("invoices:read");

    [Test, Rfc(6749, "2.3.1c")]
    public async Task A_client_with_client_secret_post_authenticates_in_the_body() =>
        (await TokenRequestBuilder.ByPost(Client).SendAsync(Server)).IsGrant("invoices:read");

    // Each case is the secret as sent and as decoded: a secret imported from another system may have any character.
    [Rfc(6749, "2.3.1b")]
    [TestCase("a%2Bb", "a+b")]
    [TestCase("a+b", "a b")]
    [TestCase("a%20b", "a b")]
    [TestCase("100%25", "100%")]
    [TestCase("%252B", "%2B")]
    [TestCase("a:b", "a:b")]
    [TestCase("a%3ab", "a:b")]
    [TestCase("p%26q%3Dr", "p&q=r")]
    [TestCase("p%C3%A4ssw%C3%B6rd", "pässwörd")]
    [TestCase("%F0%9F%94%91", "🔑")]
    [TestCase("%00%0A", "\0\n")]
    [TestCase("+", " ")]
    [TestCase("a b", "a b", Description = "a deliberate leniency: an unencoded character stands for itself")]
    [TestCase("é", "é")]
    public async Task A_secret_is_decoded_exactly_once_in_Basic_and_in_the_body(string wire, string secret)
    {
        var client = await ImportAsync(secret);

        (await Basic(client.Id, wire).SendAsync(Server)).IsGrant("invoices:read");
        (await TokenRequestBuilder.Anonymous().WithBody($"grant_type=client_credentials&client_id={client.Id}&client_secret={wire}")
            .SendAsync(Server)).IsGrant("invoices:read");
    }

    [Rfc(6749, "2.3.1b")]
    [TestCase("a+b", "a+b", Description = "a plus is a space")]
    [TestCase("100%", "100%", Description = "a percent sign begins a sequence")]
    [TestCase("%2B", "%2B")]
    [TestCase("%E9", "é", Description = "Latin-1")]
    [TestCase("e%CC%81", "\u00E9", Description = "nothing is normalised")]
    [TestCase("SECRET", "secret")]
    [TestCase("secret+", "secret")]
    [TestCase("secret%00", "secret")]
    [TestCase("secre", "secret")]
    public async Task A_wrongly_encoded_secret_does_not_authenticate(string wire, string secret)
    {
        var client = await ImportAsync(secret);

        (await Basic(client.Id, wire).SendAsync(Server)).IsInvalidClient();
    }

    [Test, Rfc(6749, "2.3.1b")]
    public async Task A_client_id_is_decoded_too()
    {
        (await Basic("%62illin%67", Client.Secret).SendAsync(Server)).IsGrant("invoices:read");
        (await Basic("billing+", Client.Secret).SendAsync(Server)).IsInvalidClient();
        (await Basic("Billing", Client.Secret).SendAsync(Server)).IsInvalidClient();
    }

    [Test]
    public async Task A_client_id_has_at_most_255_characters()
    {
        var client = await Database.CreateClientAsync(new string('c', 255));

        (await TokenRequestBuilder.For(client).SendAsync(Server)).IsGrant("invoices:read");
        (await TokenRequestBuilder.ByPost(client).SendAsync(Server)).IsGrant("invoices:read");
        (await TokenRequestBuilder.For(client with { Id = client.Id + "c" }).SendAsync(Server)).IsInvalidClient();
        (await TokenRequestBuilder.ByPost(client with { Id = client.Id + "c" }).SendAsync(Server)).IsInvalidClient();
    }

    [TestCase("x", 256)]
    [TestCase("é", 128)]
    [TestCase("🔑", 64)]
    public async Task A_secret_has_at_most_256_bytes(string character, int count)
    {
        var longest = string.Concat(Enumerable.Repeat(character, count));
        Assert.That(Encoding.UTF8.GetByteCount(longest), Is.EqualTo(256));
        var fits = await ImportAsync(longest);
        var tooLong = await ImportAsync(longest + "x");

        (await TokenRequestBuilder.For(fits).SendAsync(Server)).IsGrant("invoices:read");
        (await TokenRequestBuilder.ByPost(fits).SendAsync(Server)).IsGrant("invoices:read");
        (await TokenRequestBuilder.For(tooLong).SendAsync(Server)).IsInvalidClient();
        (await TokenRequestBuilder.ByPost(tooLong).SendAsync(Server)).IsInvalidClient();
    }

    [Test, Rfc(6749, "2.3.1f")]
    public async Task An_empty_secret_never_authenticates_even_if_its_digest_is_stored()
    {
        const string digest = "$argon2id$v=19$m=8192,t=1,p=1$c29tZXNhbHRzb21lc2FsdA$jVn8y33otqJVSIixfCEigeZvP1gTuF9k48asc4c3in4";
        var client = await Database.CreateClientAsync("empty") with { Secret = "" };
        await Database.ExecuteAsync(
            "select token_service.add_secret(@Id, @secretId, @digest)", new { client.Id, secretId = ClientSecret.NewImportedId(), digest });

        (await TokenRequestBuilder.For(client).SendAsync(Server)).IsInvalidClient();
        (await TokenRequestBuilder.ByPost(client).SendAsync(Server)).IsInvalidClient();
        (await TokenRequestBuilder.Anonymous().With("client_id", client.Id).SendAsync(Server)).IsInvalidClient();
    }

    [Test]
    public async Task Every_live_secret_of_a_client_authenticates()
    {
        var client = await Database.CreateClientAsync("several");
        string[] secrets = [client.Secret, GeneratedSecret.Create().Value, GeneratedSecret.Create().Value, "imported one", "imported two"];
        foreach (var secret in secrets.Skip(1))
            await Database.AddSecretAsync(client.Id, secret);

        foreach (var secret in secrets)
            (await TokenRequestBuilder.For(client with { Secret = secret }).SendAsync(Server)).IsGrant("invoices:read");
        (await TokenRequestBuilder.For(client with { Secret = "imported three" }).SendAsync(Server)).IsInvalidClient();
    }

    private static TokenRequestBuilder Basic(string id, string secret) =>
        TokenRequestBuilder.Anonymous().WithAuthorization("Basic " + TokenRequestBuilder.Base64($"{id}:{secret}"));

    /// <summary>Creates a client whose secret came from another system.</summary>
    private async Task<TestClient> ImportAsync(string secret)
    {
        var client = await Database.CreateClientAsync($"c{Guid.NewGuid():N}");
        await Database.AddSecretAsync(client.Id, secret);
        return client with { Secret = secret };
    }
}
