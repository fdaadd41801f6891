using TokenService.Tests.Harness;

namespace TokenService.Tests.Rfc6749;

[TestFixture, Rfc(6749, "2.3.1")]
public sealed class ClientPassword : ServerFixture
{
    [Test, Rfc(6749, "2.3.1a")]
    public async Task A_client_authenticates_by_HTTP_Basic() =>
        (await TokenRequestBuilder.For(Client).SendAsync(Server)).IsGrant("invoices:read");
}
