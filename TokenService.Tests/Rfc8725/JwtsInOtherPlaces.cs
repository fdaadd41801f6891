using TokenService.Tests.Harness;

namespace TokenService.Tests.Rfc8725;

/// <summary>Each kind of JWT works in its own place and in no other. Every one here is valid and signed rightly.</summary>
[TestFixture, Rfc(8725, "3.12")]
public sealed class JwtsInOtherPlaces : ServerFixture
{
    private readonly Dictionary<string, string> jwts = new(StringComparer.Ordinal);

    [OneTimeSetUp]
    public async Task MakeOneOfEachKind()
    {
        var key = await Database.CreateKeyClientAsync("signer");
        await Database.ExecuteAsync("insert into token_service.resource_server values ('billing', 'https://api.example.com')");
        await Server.HasReceivedNotificationsAsync();
        jwts["access token"] = (await TokenRequestBuilder.For(Client).SendAsync(Server)).Token.EncodedToken;
        jwts["introspection answer"] = (await TokenRequestBuilder.Introspect(Client, jwts["access token"])
            .WithHeader("Accept", "application/token-introspection+jwt").SendAsync(Server)).Body;
        jwts["list of revoked tokens"] = (await Server.GetAsync("/revoked-tokens")).Body;
        jwts["assertion"] = SignedJwt.Assertion(Server, "signer", key).WithHeader("typ", "client-authentication+jwt").Signed();
        jwts["assertion without typ"] = SignedJwt.Assertion(Server, "signer", key).Signed();
        jwts["proof"] = SignedJwt.Proof(Server, key).WithClaim("iss", "signer").WithClaim("sub", "signer")
            .WithClaim("aud", TestServer.Issuer).WithClaim("exp", Server.Clock.GetUtcNow().ToUnixTimeSeconds() + 60)
            .WithHeader("kid", "k1").Signed();
        // An access token with the key of a client, and an assertion with the claims of an access token.
        jwts["token of a client's key"] = SignedJwt.Assertion(Server, "signer", key).WithHeader("typ", "at+jwt")
            .WithClaim("client_id", "signer").WithClaim("scope", "invoices:read").WithClaim("aud", "https://api.example.com").Signed();
    }

    [Test]
    public async Task As_an_assertion(
        [Values("access token", "introspection answer", "list of revoked tokens", "proof", "token of a client's key")] string kind) =>
        (await TokenRequestBuilder.ByAssertion(jwts[kind]).SendAsync(Server)).IsInvalidClient();

    [Test]
    public async Task As_a_DPoP_proof(
        [Values(
            "access token", "introspection answer", "list of revoked tokens", "assertion", "assertion without typ",
            "token of a client's key")] string kind) =>
        Assert.That(
            (await TokenRequestBuilder.For(Client).WithHeader("DPoP", jwts[kind]).SendAsync(Server)).Json.GetProperty("error").GetString(),
            Is.EqualTo("invalid_dpop_proof"));

    [Test]
    public async Task As_an_access_token(
        [Values("introspection answer", "list of revoked tokens", "assertion", "assertion without typ", "proof", "token of a client's key")]
        string kind) =>
        (await TokenRequestBuilder.Introspect(Client, jwts[kind]).SendAsync(Server)).IsInactive();

    [Test]
    public async Task Each_works_in_its_own_place()
    {
        (await TokenRequestBuilder.ByAssertion(jwts["assertion"]).SendAsync(Server)).IsGrant();
        (await TokenRequestBuilder.ByAssertion(jwts["assertion without typ"]).SendAsync(Server)).IsGrant();
        (await TokenRequestBuilder.For(Client).WithHeader("DPoP", jwts["proof"]).SendAsync(Server)).IsGrant(tokenType: "DPoP");
        (await TokenRequestBuilder.Introspect(Client, jwts["access token"]).SendAsync(Server)).IsActive(jwts["access token"]);
    }
}
