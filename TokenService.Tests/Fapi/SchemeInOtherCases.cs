using TokenService.Tests.Harness;

namespace TokenService.Tests.Fapi;

[TestFixture, FapiModule("access-token-type-header-case-sensitivity"), Rfc(9110, "11.1")]
public sealed class SchemeInOtherCases : FapiApiFixture
{
    [Test]
    public async Task The_resource_takes_the_scheme_in_any_case([Values("dPoP", "dpop", "DPOP", "DpOp")] string scheme)
    {
        var token = await TokenAsync(First);

        IsServed(await CallAsync($"{scheme} {token}", ApiProof(First.DpopKey, token).Signed()), First);
    }

    // RFC 9449 §7.2. In any case of its letters this scheme is not for a bound token.
    [Test, Rfc(9449, "7.2")]
    public async Task The_resource_refuses_a_bound_token_with_the_scheme_of_others([Values("Bearer", "bEARER")] string scheme)
    {
        var token = await TokenAsync(First);

        var answer = await CallAsync($"{scheme} {token}", ApiProof(First.DpopKey, token).Signed());

        Assert.That(
            (answer.Status, answer.Body, answer.Headers["WWW-Authenticate"].Split(',')[0]),
            Is.EqualTo((401, "", "Bearer error=\"invalid_token\"")));
    }
}
