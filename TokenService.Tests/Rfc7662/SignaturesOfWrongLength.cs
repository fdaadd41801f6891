using System.Buffers.Text;
using System.Text;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Rfc7662;

/// <summary>
/// A signature of a length that its algorithm never produces makes a token inactive, and causes no error in the server
/// (RFC 7518 §3.3 to §3.5).
/// </summary>
[TestFixture("ES256", 64), TestFixture("ES384", 96), TestFixture("RS256", 256), TestFixture("PS256", 256)]
[Rfc(7662, "2.2b"), Rfc(8725, "3.3")]
public sealed class SignaturesOfWrongLength(string algorithm, int length) : IntrospectionFixture
{
    private protected override string[] Settings => [$"Keys:Algorithm={algorithm}", "Keys:RsaKeySize=2048"];

    [Test]
    public async Task A_token_whose_signature_has_a_wrong_length_is_inactive()
    {
        var good = await IssueAsync();
        var signed = good[..(good.LastIndexOf('.') + 1)];
        var signature = Base64Url.DecodeFromChars(good.AsSpan(signed.Length));
        Assert.That(signature, Has.Length.EqualTo(length));

        foreach (var wrong in new byte[][]
        {
            [], [0], new byte[length], [.. signature, 0], [0, .. signature], signature[..^1], signature[1..],
            [.. signature, .. signature], new byte[4096], Encoding.ASCII.GetBytes(signed),
        })
            (await IntrospectAsync(signed + Base64Url.EncodeToString(wrong))).IsInactive();
        (await IntrospectAsync(good)).IsActive(good);
    }
}
