using TokenService.Protocol;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Fapi;

[TestFixture, FapiModule("ensure-client-assertion-with-exp-is-5-minutes-in-past-fails"), Rfc(7523, "3c")]
public sealed class ExpiredAssertion : FapiFixture
{
    [Test]
    public async Task An_assertion_that_ended_5_minutes_ago_is_refused() => await IsInvalidClientAsync(
        Request(First, Assertion(First).WithClaim("exp", Server.Clock.GetUtcNow().ToUnixTimeSeconds() - 300)), Reason.AssertionExpired);
}
