using TokenService.Protocol;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Fapi;

/// <summary>
/// The suite sends a request without a DPoP proof. It takes invalid_request, invalid_grant and invalid_dpop_proof, and not
/// use_dpop_nonce, whether or not the server demands nonces. <see cref="TlsOfTheServer"/> has the first half of the module.
/// </summary>
[TestFixture("Off"), TestFixture("Required"), FapiModule("ensure-holder-of-key-required"), Rfc(9449, "5f")]
public sealed class HolderOfKey(string nonces) : FapiFixture
{
    private protected override string[] Settings => [.. Standard, $"Dpop:Nonce={nonces}"];

    [Test]
    public async Task A_request_without_a_proof_is_refused()
    {
        var answer = await Unbound(Assertion(First)).SendAsync(Http);

        Passes(answer, "invalid_request", "invalid_grant", "invalid_dpop_proof");
        answer.IsError(
            400, "invalid_dpop_proof", "This client's tokens must be bound to a key. Send a DPoP proof (RFC 9449 §5).");
        Assert.That(ReasonOf(await Server.Events.OfAsync(answer.RequestId)), Is.EqualTo(Reason.DpopProofMissing));
    }

    // The suite sends a request again with the nonce that it is given.
    [Test, Rfc(9449, "8c")]
    public async Task A_request_with_a_proof_is_granted_after_at_most_one_challenge()
    {
        var answer = await Request(First).SendAsync(Http);
        if (nonces == "Required")
        {
            var nonce = answer.Headers["DPoP-Nonce"];
            answer.IsError(
                400, "use_dpop_nonce", "The DPoP proof must have the nonce of the header DPoP-Nonce of this answer.",
                ("DPoP-Nonce", nonce));
            answer = await Unbound(Assertion(First)).WithHeader("DPoP", Proof(First).WithClaim("nonce", nonce).Signed()).SendAsync(Http);
            answer.IsGrant(Scope, tokenType: "DPoP", headers: ("DPoP-Nonce", nonce));
        }
        else
        {
            answer.IsGrant(Scope, tokenType: "DPoP");
        }

        Assert.That(answer.Token.GetPayloadValue<System.Text.Json.JsonElement>("cnf").GetProperty("jkt").GetString(),
            Is.EqualTo(First.DpopKey.Thumbprint));
    }
}
