using Microsoft.IdentityModel.Tokens;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Tokens;

/// <summary>A resource decides how long tokens for it live at most, and which algorithm signs them.</summary>
[TestFixture, Rfc(8707, "2d")]
public sealed class TokensOfResources : ServerFixture
{
    private const string Ledger = "https://ledger.example.com";
    private const string Parcels = "https://parcels.example.com";

    private const string Limit = "update token_service.resource set max_token_lifetime_seconds = @seconds where id = @resource";

    private int number;

    [TestCase(null, null, 600, Description = "The server's default.")]
    [TestCase(null, 60, 60)]
    [TestCase(null, 599, 599)]
    [TestCase(null, 600, 600)]
    [TestCase(null, 3600, 600, Description = "An upper bound does not lengthen a lifetime.")]
    [TestCase(1800, null, 1800)]
    [TestCase(1800, 300, 300)]
    [TestCase(120, 300, 120)]
    [TestCase(86400, 86400, 86400)]
    public async Task A_token_lives_as_long_as_its_client_and_its_resource_allow(int? lifetime, int? maxLifetime, int expected)
    {
        var resource = $"https://{++number}.example.com";
        var client = await Database.CreateClientAsync($"client-{number}", $"read-{number}", $"read-{number}", resource);
        await Database.ExecuteAsync(
            "update token_service.client set token_lifetime_seconds = @lifetime where id = @Id", new { client.Id, lifetime });
        await Database.ExecuteAsync(Limit, new { resource, seconds = maxLifetime });

        foreach (var request in new[] { TokenRequestBuilder.For(client), TokenRequestBuilder.For(client).With("resource", resource) })
            LivesFor(expected, await request.SendAsync(Server), $"read-{number}");
    }

    [Test]
    public async Task The_limit_of_the_requested_resource_counts_and_a_change_is_obeyed()
    {
        await Database.CreateClientAsync("ledger", "ledger:read", "ledger:read", Ledger);
        await Database.ExecuteAsync("select token_service.grant_scope('billing', 'ledger:read')");
        await Server.HasReceivedNotificationsAsync();
        LivesFor(600, await AskLedger().SendAsync(Server), "ledger:read");

        await Database.ExecuteAsync(Limit, new { resource = Ledger, seconds = 90 });
        await Server.HasReceivedNotificationsAsync();
        LivesFor(90, await AskLedger().SendAsync(Server), "ledger:read");
        LivesFor(90, await TokenRequestBuilder.For(Client).WithScope("ledger:read").SendAsync(Server), "ledger:read");
        LivesFor(600, await TokenRequestBuilder.For(Client).SendAsync(Server), "invoices:read");

        await Database.ExecuteAsync(Limit, new { resource = Ledger, seconds = (int?)null });
        await Server.HasReceivedNotificationsAsync();
        LivesFor(600, await AskLedger().SendAsync(Server), "ledger:read");

        TokenRequestBuilder AskLedger() => TokenRequestBuilder.For(Client).With("resource", Ledger).WithScope("ledger:read");
    }

    [Test, Rfc(9068, "2.1b")]
    public async Task A_token_is_signed_with_the_algorithm_of_its_resource()
    {
        await using var database = await Database.CreateAsync();
        var client = await database.CreateClientAsync("billing");
        await database.CreateClientAsync("carrier", "parcels:read", "parcels:read", Parcels);
        await database.ExecuteAsync(
            """
            update token_service.resource set signing_alg = 'ES384' where id = 'https://parcels.example.com';
            select token_service.grant_scope('billing', 'parcels:read');
            """);
        // At the first start, the first key of each algorithm signs at once.
        await using var server = await TestServer.StartAsync(database);

        await IsSignedWithAsync("ES384", TokenRequestBuilder.For(client).With("resource", Parcels).WithScope("parcels:read"));
        await IsSignedWithAsync("ES256", TokenRequestBuilder.For(client).With("resource", "https://api.example.com"));

        async Task IsSignedWithAsync(string algorithm, TokenRequestBuilder request)
        {
            var token = (await request.SendAsync(server)).Token;
            var key = (await PublishedKey.ReadAllAsync(server)).Single(key => key.Kid == token.Kid);
            Assert.That((token.Alg, key.Member("alg"), key.Verifies(token.EncodedToken)), Is.EqualTo((algorithm, algorithm, true)));
        }
    }

    // For an API whose library refuses at+jwt. RFC 8725 §3.11 is why it is not the default.
    [Test, Rfc(9068, "2.1a"), Rfc(7519, "5.1")]
    public async Task A_token_has_the_type_of_its_resource_and_is_introspected_and_revoked_with_either()
    {
        const string Legacy = "https://legacy.example.com";
        var client = await Database.CreateClientAsync("legacy", "legacy:read", "legacy:read", Legacy);
        var api = await Database.CreateApiAsync("legacy-api", Legacy);
        var before = await IsIssuedAsync("at+jwt");

        await Database.ExecuteAsync("select token_service.create_resource(@Legacy, p_typ => 'JWT')", new { Legacy });
        await Server.HasReceivedNotificationsAsync();
        var after = await IsIssuedAsync("JWT");
        Assert.That((await TokenRequestBuilder.For(Client).SendAsync(Server)).Token.Typ, Is.EqualTo("at+jwt"), "of another resource");
        foreach (var token in new[] { before, after })
        {
            (await TokenRequestBuilder.Introspect(api, token).SendAsync(Server)).IsActive(token);
            (await TokenRequestBuilder.Revoke(client, token).SendAsync(Server)).IsDone(contentType: null);
            (await TokenRequestBuilder.Introspect(api, token).SendAsync(Server)).IsInactive();
        }

        async Task<string> IsIssuedAsync(string type)
        {
            var token = (await TokenRequestBuilder.For(client).SendAsync(Server)).Token;
            Assert.That(
                Base64UrlEncoder.Decode(token.EncodedHeader), Is.EqualTo($$"""{"alg":"ES256","kid":"{{token.Kid}}","typ":"{{type}}"}"""));
            return token.EncodedToken;
        }
    }

    private void LivesFor(int seconds, Answer answer, string scope)
    {
        answer.IsGrant(scope, seconds);
        var issuedAt = Server.Clock.GetUtcNow().ToUnixTimeSeconds();
        Assert.That(
            (answer.Token.GetPayloadValue<long>("iat"), answer.Token.GetPayloadValue<long>("exp")),
            Is.EqualTo((issuedAt, issuedAt + seconds)));
    }
}
