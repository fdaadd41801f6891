using TokenService.Protocol;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Rfc9449;

/// <summary>A proof is for one request: its method and address, its time, and once.</summary>
[TestFixture, Rfc(9449, "4.3")]
public sealed class ProofsOfRequests : ProofFixture
{
    private const string OtherAddress = "The htu of the DPoP proof is not the address of this endpoint, as the metadata has it.";
    private const string OtherTime = "The iat of the DPoP proof is more than 60 seconds ago or 30 seconds ahead.";
    private const string Over = "The exp of the DPoP proof has passed, or its nbf has not.";

    // The server listens at another port than its issuer names, so only the issuer can be what counts.
    [Test, Rfc(9449, "4.3j"), Rfc(9449, "4.3c")]
    public async Task Htu_may_differ_in_what_makes_no_difference(
        [Values(
            "http://127.0.0.1:8080/token", "HTTP://127.0.0.1:8080/token", "http://127.0.0.1:8080/token?a=b",
            "http://127.0.0.1:8080/token#f", "http://127.0.0.1:8080/token?", "http://127.0.0.1:8080/token?x=http://y/z#a?b")] string htu) =>
        await IsBoundAsync(Proof().WithClaim("htu", htu));

    [Test, Rfc(9449, "4.3j")]
    public async Task Htu_of_another_address_is_refused([Values(
        "http://127.0.0.1:8080/", "http://127.0.0.1:8080", "http://127.0.0.1:8080/token/", "http://127.0.0.1:8080/Token",
        "http://127.0.0.1:8080/%74oken", "http://127.0.0.1:8080/x/../token", "http://127.0.0.1:8080//token", "http://127.0.0.1/token",
        "http://127.0.0.1:80/token", "https://127.0.0.1:8080/token", "http://localhost:8080/token", "http://user@127.0.0.1:8080/token",
        "http://127.0.0.1:8080@evil.example.com/token", "http://evil.example.com/token?http://127.0.0.1:8080/token",
        "/token", "127.0.0.1:8080/token", "", "://", "http:", "http://127.0.0.1:8080/introspect", " http://127.0.0.1:8080/token",
        "http://127.0.0.1:8080/token ", "http://127.0.0.1:8080/token;x")] string htu) =>
        await IsRefusedAsync(Proof().WithClaim("htu", htu), Reason.DpopProofRequest, OtherAddress);

    [Test, Rfc(9449, "4.2b")]
    public async Task Htu_must_be_a_string([Values(null, "null", "7", "[\"http://127.0.0.1:8080/token\"]")] string? json) =>
        await IsRefusedAsync(
            json is null ? Proof().WithoutClaim("htu") : Proof().WithClaim("htu", System.Text.Json.Nodes.JsonNode.Parse(json)),
            Reason.DpopProofRequest, OtherAddress);

    [Test, Rfc(9449, "4.3j")]
    public async Task The_Host_header_does_not_count()
    {
        var proof = Proof().WithClaim("htu", "http://evil.example.com/token").Signed();

        await IsRefusedAsync(await SendAsync(proof), Reason.DpopProofRequest, OtherAddress);
        (await SendAsync(Proof().Signed())).IsGrant(tokenType: "DPoP");

        Task<Answer> SendAsync(string proof) =>
            TokenRequestBuilder.For(Client).WithHeader("DPoP", proof).WithHeader("Host", "evil.example.com").SendAsync(Server);
    }

    [Test, Rfc(9449, "4.3j")]
    public async Task The_default_port_of_the_issuer_may_be_written_or_not()
    {
        await using var server = await TestServer.StartAsync(
            Database.ConnectionString, Server.Clock, "Issuer=https://as.example.com", "TlsTerminatedUpstream=true");

        foreach (var htu in new[] { "https://as.example.com/token", "https://AS.example.com:443/token", "HTTPS://as.EXAMPLE.com/token?x" })
            (await Request(htu)).IsGrant(tokenType: "DPoP");
        foreach (var htu in new[] { "https://as.example.com:80/token", "http://as.example.com:443/token", "https://as.example.com:44/token" })
            (await Request(htu)).IsError(400, "invalid_dpop_proof", OtherAddress);

        Task<Answer> Request(string htu) =>
            TokenRequestBuilder.For(Client).WithHeader("DPoP", Proof().WithClaim("htu", htu).Signed()).SendAsync(server);
    }

    [Rfc(9449, "4.3k"), Rfc(9449, "4.3d")]
    [TestCase(-3600, false)]
    [TestCase(-61, false)]
    [TestCase(-60, true)]
    [TestCase(-10, true)]
    [TestCase(10, true)]
    [TestCase(30, true)]
    [TestCase(31, false)]
    [TestCase(3600, false)]
    public async Task Iat_must_be_near(int seconds, bool isAccepted)
    {
        var proof = Proof().WithClaim("iat", Server.Clock.GetUtcNow().ToUnixTimeSeconds() + seconds);

        if (isAccepted)
            await IsBoundAsync(proof);
        else
            await IsRefusedAsync(proof, Reason.DpopProofTime, OtherTime);
    }

    [Rfc(9449, "4.2c")]
    [TestCase("exp", -60, false)]
    [TestCase("exp", -59, true)]
    [TestCase("nbf", 30, true)]
    [TestCase("nbf", 31, false)]
    public async Task Exp_and_nbf_count_if_they_are_there(string claim, int seconds, bool isAccepted)
    {
        var proof = Proof().WithClaim(claim, Server.Clock.GetUtcNow().ToUnixTimeSeconds() + seconds);

        if (isAccepted)
            await IsBoundAsync(proof);
        else
            await IsRefusedAsync(proof, Reason.DpopProofTime, Over);
    }

    [Test, Rfc(9449, "11.1")]
    public async Task A_proof_works_once_for_as_long_as_it_is_acceptable()
    {
        var proof = Proof().WithClaim("iat", Server.Clock.GetUtcNow().ToUnixTimeSeconds() + 30).Signed();

        (await SendAsync(proof)).IsGrant(tokenType: "DPoP");
        foreach (var _ in new[] { 0, 1, 2 })
        {
            await IsRefusedAsync(
                proof, Reason.DpopProofReplayed, "The DPoP proof was used before: each request needs a new jti.");
            Server.Clock.Advance(TimeSpan.FromSeconds(30));
        }

        Server.Clock.Advance(TimeSpan.FromSeconds(1));
        await IsRefusedAsync(proof, Reason.DpopProofTime, OtherTime);
    }

    [Test, Rfc(9449, "11.1")]
    public async Task Two_keys_may_use_the_same_jti()
    {
        await IsBoundAsync(Proof().WithClaim("jti", "shared"));
        await IsBoundAsync(Proof(TestKey.Create()).WithClaim("jti", "shared"));
    }

    [Test, Rfc(9449, "5d")]
    public async Task A_proof_is_no_authentication() =>
        (await TokenRequestBuilder.Anonymous().With("client_id", Client.Id).WithHeader("DPoP", Proof().Signed()).SendAsync(Server))
            .IsInvalidClient();

    // The proof is looked at when the client is authenticated, and not before.
    [Test, Rfc(9449, "5e")]
    public async Task A_bad_proof_beside_a_wrong_secret_is_invalid_client() =>
        (await TokenRequestBuilder.For(Client with { Secret = "wrong" }).WithHeader("DPoP", "malformed").SendAsync(Server))
            .IsInvalidClient();

    [Test, Rfc(9449, "E")]
    public async Task Introspection_and_revocation_ignore_the_header([Values("/introspect", "/revoke")] string path)
    {
        await Database.ExecuteAsync(
            "insert into token_service.resource_server values ('billing', 'https://api.example.com') on conflict do nothing");
        await Server.HasReceivedNotificationsAsync();
        var token = (await TokenRequestBuilder.For(Client).SendAsync(Server)).Token.EncodedToken;

        var answer = await TokenRequestBuilder.For(Client).About(token, path).WithHeader("DPoP", "malformed").SendAsync(Server);

        Assert.That(answer.Status, Is.EqualTo(200));
    }
}
