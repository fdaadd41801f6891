using TokenService.Protocol;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Fapi;

/// <summary>The first client has everything of its own but the client_id, which is that of the second.</summary>
[TestFixture, FapiModule("ensure-client-id-in-token-endpoint"), Rfc(7523, "3"), Rfc(7521, "4.2b")]
public sealed class ClientIdOfAnotherClient : FapiFixture
{
    [Test]
    public async Task An_assertion_for_another_client_is_refused([Values] bool withClientId)
    {
        var request = Request(First, AssertionForSecondByFirst());

        await IsInvalidClientAsync(withClientId ? request.With("client_id", Second.Id) : request, Reason.AssertionKeyUnknown);
    }

    [Test]
    public async Task The_kid_of_the_other_client_does_not_help() => await IsInvalidClientAsync(
        Request(First, AssertionForSecondByFirst().WithHeader("kid", Second.KeyId)), Reason.AssertionSignatureWrong);

    [Test]
    public async Task A_client_id_beside_an_own_assertion_is_refused()
    {
        var answer = await Request(First).With("client_id", Second.Id).SendAsync(Http);

        answer.IsError(400, "invalid_request", "The client_id in the body is not the subject of the client_assertion.");
    }

    private SignedJwt AssertionForSecondByFirst() => Assertion(First).WithClaim("iss", Second.Id).WithClaim("sub", Second.Id);
}
