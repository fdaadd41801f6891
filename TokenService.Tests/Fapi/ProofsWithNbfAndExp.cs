using TokenService.Tests.Harness;

namespace TokenService.Tests.Fapi;

/// <summary>Claims that a proof need not have, at the token endpoint and at the resource.</summary>
[TestFixture, FapiModule("check-dpop-proof-nbf-exp"), Rfc(9449, "4.2")]
public sealed class ProofsWithNbfAndExp : FapiApiFixture
{
    [Test]
    public async Task A_proof_may_have_nbf_and_exp()
    {
        var grant = await Unbound(Assertion(First))
            .WithHeader("DPoP", WithBoth(Proof(First), Server.Clock.GetUtcNow()).Signed()).SendAsync(Http);
        grant.IsGrant(Scope, tokenType: "DPoP");

        var token = grant.Token.EncodedToken;
        IsServed(
            await CallAsync($"DPoP {token}", WithBoth(ApiProof(First.DpopKey, token), DateTimeOffset.UtcNow).Signed()), First);
    }

    private static SignedJwt WithBoth(SignedJwt proof, DateTimeOffset now) => proof
        .WithClaim("nbf", now.ToUnixTimeSeconds()).WithClaim("exp", now.ToUnixTimeSeconds() + 60);
}
