using System.Buffers.Text;
using System.Text.Json;
using Microsoft.Extensions.DependencyInjection;
using TokenService.Keys;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Keys;

/// <summary>Tokens are signed with the configured algorithm, or with the one that a resource has of its own.</summary>
[TestFixture]
public sealed class KeyAlgorithms
{
    private const string EllipticCurve = "alg crv kid kty use x y";
    private const string Rsa = "alg e kid kty n use";

    // The modulus of the example in RFC 7638 §3.1.
    private const string ExampleModulus =
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc"
        + "_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQ"
        + "R0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bF"
        + "TWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";

    private Database database = null!;
    private TestClient client = null!;

    [SetUp]
    public async Task CreateDatabase()
    {
        database = await Database.CreateAsync();
        client = await database.CreateClientAsync("billing");
    }

    [TearDown]
    public async Task DropDatabase() => await database.DisposeAsync();

    [TestCase("ES256", "EC", EllipticCurve, 256)]
    [TestCase("ES384", "EC", EllipticCurve, 384)]
    [TestCase("RS256", "RSA", Rsa, 3072)]
    [TestCase("PS256", "RSA", Rsa, 2048, "Keys:RsaKeySize=2048")]
    [Rfc(9068, "2.1b"), Rfc(7518, "3.3"), Rfc(7518, "3.4"), Rfc(7517, "4.2/4.5")]
    public async Task Tokens_are_signed_with_the_configured_algorithm_and_verify_with_its_JWK(
        string algorithm, string type, string members, int bits, params string[] settings)
    {
        await using var server = await TestServer.StartAsync(database, [$"Keys:Algorithm={algorithm}", .. settings]);

        var token = (await TokenRequestBuilder.For(client).SendAsync(server)).Token;
        var keys = await PublishedKey.ReadAllAsync(server);
        using (Assert.EnterMultipleScope())
        {
            foreach (var key in keys)
            {
                Assert.That(key.Jwk.EnumerateObject().Select(member => member.Name).Order(), Is.EqualTo(members.Split(' ')));
                Assert.That((key.Member("kty"), key.Member("alg"), key.Member("use")), Is.EqualTo((type, algorithm, "sig")));
                Assert.That(key.Kid, Is.EqualTo(key.Thumbprint));
                Assert.That(Bits(key), Is.EqualTo(bits));
            }

            Assert.That(
                (token.Alg, token.Kid), Is.EqualTo((algorithm, keys[0].Kid)), "the first of the two keys signs");
            Assert.That(keys.Select(key => key.Verifies(token.EncodedToken)), Is.EqualTo([true, false]));
        }
    }

    // The example of RFC 7638 §3.1.
    [Test]
    public void The_thumbprint_of_an_RSA_key_is_that_of_the_example_in_RFC_7638() =>
        Assert.That(
            new PublishedKey(JsonElement.Parse(
                $$"""{"kty":"RSA","e":"AQAB","alg":"RS256","kid":"2011-04-29","n":"{{ExampleModulus}}"}""")).Thumbprint,
            Is.EqualTo("NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"));

    [Test, Rfc(9068, "2.1b")]
    public async Task A_resource_with_its_own_algorithm_gets_no_token_until_every_verifier_has_a_key_of_it()
    {
        var carrier = await database.CreateClientAsync(
            "carrier", "parcels:read", "parcels:read", "https://parcels.example.com");
        await using var server = await TestServer.StartAsync(database, "Keys:RsaKeySize=2048");
        await database.ExecuteAsync(
            "update token_service.resource set signing_alg = 'RS256' where id = 'https://parcels.example.com'");
        await server.HasReceivedNotificationsAsync();
        // The server may have made the key already.
        await IsNotReadyAsync(17 * 60, detail: null);

        await StepAsync(server);
        var first = server.Services.GetRequiredService<SigningKeys>().Ring.Keys.First(key => key.Algorithm == "RS256");
        Assert.That(await PublishedAlgorithmsAsync(server), Is.EquivalentTo(["ES256", "ES256", "RS256"]));
        Assert.That(
            first.SignsFrom - server.Clock.GetUtcNow(), Is.GreaterThan(TimeSpan.FromMinutes(5)),
            "longer than the max-age of the JWKS");
        await IsNotReadyAsync(17 * 60, $"the first RS256 key signs from {first.SignsFrom:u}");

        server.Clock.Advance(first.SignsFrom - server.Clock.GetUtcNow() - TimeSpan.FromSeconds(1));
        await StepAsync(server);
        await IsNotReadyAsync(1, $"the first RS256 key signs from {first.SignsFrom:u}");
        await IsSignedWithAsync("ES256", client, server);

        server.Clock.Advance(TimeSpan.FromSeconds(1));
        await IsSignedWithAsync("RS256", carrier, server);
        await IsSignedWithAsync("ES256", client, server);
        Assert.That((await PublishedAlgorithmsAsync(server)).Distinct(), Is.EquivalentTo(["ES256", "RS256"]));

        async Task IsNotReadyAsync(int seconds, string? detail)
        {
            var answer = await TokenRequestBuilder.For(carrier).SendAsync(server);
            answer.IsError(
                503, "temporarily_unavailable", "The server cannot answer now. Retry-After says when to ask again.", ("Retry-After", $"{seconds}"));
            var line = await server.Events.OfAsync(answer.EventId);
            Assert.That(
                (line.GetProperty("reason").GetString(), line.GetProperty("detail").GetString()),
                Is.EqualTo(("signing_algorithm_not_ready", detail ?? line.GetProperty("detail").GetString())));
        }
    }

    // The next key has not been published for long enough, so a verifier may lack it.
    [Test, Rfc(9068, "2.1b")]
    public async Task A_resource_whose_key_is_withdrawn_early_waits_for_the_next_key_of_its_algorithm()
    {
        await database.ExecuteAsync("update token_service.resource set signing_alg = 'ES384'");
        await using var server = await TestServer.StartAsync(database);
        await IsSignedWithAsync("ES384", client, server);

        await database.WithdrawKeyAsync((await TokenRequestBuilder.For(client).SendAsync(server)).Token.Kid, server.Clock.GetUtcNow());
        await StepAsync(server);
        (await TokenRequestBuilder.For(client).SendAsync(server)).IsError(
            503, "temporarily_unavailable", "The server cannot answer now. Retry-After says when to ask again.", ("Retry-After", $"{17 * 60}"));

        server.Clock.Advance(TimeSpan.FromMinutes(17));
        await IsSignedWithAsync("ES384", client, server);
    }

    private static async Task IsSignedWithAsync(string algorithm, TestClient client, TestServer server)
    {
        var token = (await TokenRequestBuilder.For(client).SendAsync(server)).Token;
        var key = (await PublishedKey.ReadAllAsync(server)).Single(key => key.Kid == token.Kid);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(token.Alg, Is.EqualTo(algorithm));
            Assert.That(key.Verifies(token.EncodedToken), Is.True);
        }
    }

    private static async Task<IEnumerable<string>> PublishedAlgorithmsAsync(TestServer server) =>
        (await PublishedKey.ReadAllAsync(server)).Select(key => key.Member("alg"));

    private static Task<string?> StepAsync(TestServer server) =>
        server.Services.GetRequiredService<KeyRotation>().StepAsync(CancellationToken.None);

    // RFC 7518 §6.3.1.1: n has no leading zeros. RFC 7518 §6.2.1.2: x is as long as the curve's field.
    private static int Bits(PublishedKey key) =>
        8 * Base64Url.DecodeFromChars(key.Member(key.Member("kty") == "EC" ? "x" : "n")).Length;
}
