using TokenService.Protocol;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Fapi;

[TestFixture, FapiModule("ensure-client-assertion-in-token-endpoint"), Rfc(7521, "4.2")]
public sealed class MissingAssertion : FapiFixture
{
    [Test]
    public async Task A_request_without_any_authentication_is_refused([Values] bool withClientId)
    {
        var request = TokenRequestBuilder.Anonymous().WithScope(Scope).WithHeader("DPoP", Proof(First).Signed());

        await IsInvalidClientAsync(withClientId ? request.With("client_id", First.Id) : request, Reason.NoCredentials);
    }

    [Test]
    public async Task A_request_with_the_type_of_an_assertion_and_no_assertion_is_refused()
    {
        var answer = await Request(First).Without("client_assertion").SendAsync(Http);

        Passes(answer, "invalid_client", "invalid_request");
        answer.IsError(400, "invalid_request", "The parameter client_assertion is missing from the body.");
    }
}
