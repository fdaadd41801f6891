using TokenService.Protocol;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Fapi;

[TestFixture, FapiModule("ensure-client-assertion-with-no-sub-fails"), Rfc(7523, "3h")]
public sealed class MissingSubject : FapiFixture
{
    [Test]
    public async Task An_assertion_without_sub_is_refused([Values] bool withClientId)
    {
        var request = Request(First, Assertion(First).WithoutClaim("sub"));

        await IsInvalidClientAsync(withClientId ? request.With("client_id", First.Id) : request, Reason.AssertionSubjectWrong);
    }
}
