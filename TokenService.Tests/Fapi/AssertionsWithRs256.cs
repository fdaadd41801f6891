using System.Security.Cryptography;
using TokenService.Protocol;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Fapi;

/// <summary>One key pair, registered for PS256, signs with RS256.</summary>
[TestFixture, FapiModule("ensure-signed-client-assertion-with-RS256-fails"), Rfc(8725, "3.1"), Rfc(7523, "3v")]
public sealed class AssertionsWithRs256 : FapiFixture
{
    private FapiClient client = null!;
    private TestKey older = null!;

    [OneTimeSetUp]
    public async Task MakeClient()
    {
        var pair = RSA.Create(2048);
        older = TestKey.OfRsa("RS256", RSASignaturePadding.Pkcs1, pair);
        client = new FapiClient("both", "both-key", TestKey.OfRsa("PS256", RSASignaturePadding.Pss, pair), TestKey.Create("PS256"));
        await Database.CreateClientAsync(client.Id, Scope, Scope, Resource, "private_key_jwt");
        await Database.AddKeyAsync(client.Id, client.Key, client.KeyId);
    }

    [Test]
    public async Task The_key_works_with_the_algorithm_it_is_registered_for() =>
        (await Request(client).SendAsync(Http)).IsGrant(Scope, tokenType: "DPoP");

    [Test]
    public async Task The_key_does_not_work_with_RS256()
    {
        var assertion = Assertion(client with { Key = older });

        Assert.That(assertion.Header, Does.Contain("\"RS256\""));
        await IsInvalidClientAsync(Request(client, assertion), Reason.AssertionAlgorithmWrong);
    }

    // FAPI 2.0 §5.4.1. The row of the client says RS256, and outside the profile it works.
    [Test]
    public async Task A_key_that_is_registered_for_RS256_does_not_work_under_the_profile()
    {
        var old = await CreateClientAsync("old", "RS256");

        await IsInvalidClientAsync(Request(old), Reason.AssertionAlgorithmWrong);
    }

    [Test]
    public async Task A_key_that_is_registered_for_ES384_does_not_work_under_the_profile()
    {
        var other = await CreateClientAsync("other", "ES384");

        await IsInvalidClientAsync(Request(other), Reason.AssertionAlgorithmWrong);
    }
}
