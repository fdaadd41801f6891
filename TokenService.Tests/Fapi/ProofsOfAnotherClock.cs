using TokenService.Tests.Harness;

namespace TokenService.Tests.Fapi;

/// <summary>FAPI 2.0 §5.3.2.1: the clock of a client may differ by 10 seconds.</summary>
[TestFixture(-10, Category = "FAPI2-ensure-dpopproof-with-iat-10seconds-before-succeeds")]
[TestFixture(10, Category = "FAPI2-ensure-dpopproof-with-iat-10seconds-after-succeeds")]
[Rfc(9449, "4.3")]
public sealed class ProofsOfAnotherClock(int seconds) : FapiApiFixture
{
    [Test]
    public async Task A_proof_is_accepted_at_the_token_endpoint_and_at_the_resource()
    {
        var iat = Server.Clock.GetUtcNow().ToUnixTimeSeconds() + seconds;
        var grant = await Unbound(Assertion(First))
            .WithHeader("DPoP", Proof(First).WithClaim("iat", iat).Signed()).SendAsync(Http);
        grant.IsGrant(Scope, tokenType: "DPoP");

        var token = grant.Token.EncodedToken;
        var proof = ApiProof(First.DpopKey, token).WithClaim("iat", DateTimeOffset.UtcNow.ToUnixTimeSeconds() + seconds);
        IsServed(await CallAsync($"DPoP {token}", proof.Signed()), First);
    }

    // Its modules for the pushed authorization request, which this grant does not have, do the same to an assertion.
    [Test, Rfc(7523, "3m")]
    public async Task An_assertion_is_accepted()
    {
        var at = Server.Clock.GetUtcNow().ToUnixTimeSeconds() + seconds;

        (await Request(First, Assertion(First).WithClaim("iat", at).WithClaim("nbf", at)).SendAsync(Http))
            .IsGrant(Scope, tokenType: "DPoP");
    }
}
