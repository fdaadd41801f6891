using TokenService.Secrets;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Secrets;

[TestFixture]
public sealed class CostOfDigests : ServerFixture
{
    // The configured cost applies to new digests only, so raising or lowering it locks no client out.
    [TestCase(8192, 1)]
    [TestCase(19456, 2)]
    [TestCase(65536, 3)]
    public async Task A_digest_weaker_or_stronger_than_configured_still_verifies(int memoryKiB, int iterations)
    {
        var secret = GeneratedSecret.Create();
        var digest = Run.Hasher.Hash(secret.Value, new Argon2Cost(memoryKiB, iterations))!.ToString();
        await Database.ExecuteAsync(
            "select token_service.add_secret('billing', @Selector, @digest)", new { secret.Selector, digest });

        (await TokenRequestBuilder.For(Client with { Secret = secret.Value }).SendAsync(Server)).IsGrant("invoices:read");
    }
}
