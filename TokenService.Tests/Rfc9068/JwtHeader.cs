using System.Buffers.Text;
using System.Text.Json;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Rfc9068;

[TestFixture, Rfc(9068, "2.1")]
public sealed class JwtHeader : ServerFixture
{
    [Test, Rfc(9068, "2.1a"), Rfc(9068, "2.1c"), Rfc(8725, "3.10"), Rfc(8725, "3.11")]
    public async Task The_header_has_type_algorithm_and_key_and_nothing_else()
    {
        var jwt = await IssueAsync();

        var header = JsonElement.Parse(Base64Url.DecodeFromChars(jwt.Split('.')[0]));
        using (Assert.EnterMultipleScope())
        {
            Assert.That(header.EnumerateObject().Select(member => member.Name), Is.EquivalentTo(["typ", "alg", "kid"]));
            Assert.That(header.GetProperty("typ").GetString(), Is.EqualTo("at+jwt"));
            Assert.That(header.GetProperty("alg").GetString(), Is.EqualTo("ES256"));
            Assert.That(header.GetProperty("kid").GetString(), Is.EqualTo((await PublishedKey.ReadAllAsync(Server))[0].Kid));
        }
    }

    // RFC 7515 §3.1: three parts, base64url without padding. Rfc6750/ResourceServer asks a verifier that is not ours.
    [Test, Rfc(7518, "3.4"), Rfc(6749, "10.3a")]
    public async Task The_signature_is_R_and_S_and_verifies_with_the_published_key_alone()
    {
        var jwt = await IssueAsync();

        using (Assert.EnterMultipleScope())
        {
            Assert.That(jwt, Does.Match(@"^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{86}$"));
            Assert.That(Base64Url.DecodeFromChars(jwt.Split('.')[2]), Has.Length.EqualTo(64));
            Assert.That((await PublishedKey.ReadAllAsync(Server))[0].Verifies(jwt), Is.True);
        }
    }

    private async Task<string> IssueAsync() => (await TokenRequestBuilder.For(Client).SendAsync(Server)).Token.EncodedToken;
}
