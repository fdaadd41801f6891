using System.Text;
using TokenService.Protocol;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Rfc6749;

/// <summary>The Authorization header of HTTP Basic: id and secret, each form-encoded, a colon between them, all in Base64.</summary>
[TestFixture, Rfc(6749, "2.3.1"), Rfc(6749, "2.3.1b")]
public sealed class BasicCredentialsSyntax
{
    // RFC 6749 §2.3.1's own example.
    [Test]
    public void The_example_of_the_RFC_is_read() =>
        Assert.That(Parsed("Basic czZCaGRSa3F0Mzo3RmpmcDBaQnIxS3REUmJuZlZkbUl3"),
            Is.EqualTo(("s6BhdRkqt3", "7Fjfp0ZBr1KtDRbnfVdmIw")));

    [TestCase("id:secret", "id", "secret")]
    [TestCase("id:", "id", "")]
    [TestCase(":secret", "", "secret")]
    [TestCase(":", "", "")]
    [TestCase("id::", "id", ":", Description = "split at the first colon")]
    [TestCase("id:a:b", "id", "a:b")]
    [TestCase("i%3Ad:s", "i:d", "s", Description = "split before decoding")]
    [TestCase("id:a%3Ab", "id", "a:b")]
    [TestCase("i+d:a+b", "i d", "a b")]
    [TestCase("id:a%2Bb", "id", "a+b")]
    [TestCase("id:a%20b", "id", "a b")]
    [TestCase("id:a%25b", "id", "a%b")]
    [TestCase("id:%252B", "id", "%2B", Description = "decoded once")]
    [TestCase("id:%c3%a9%E2%82%AC", "id", "é€")]
    [TestCase("id:e%CC%81", "id", "e\u0301", Description = "not normalised")]
    [TestCase("id:a=b&c", "id", "a=b&c", Description = "there are no pairs here")]
    [TestCase("id:%00", "id", "\0")]
    [TestCase("i d:a b", "i d", "a b", Description = "octets that should have been encoded stand for themselves, as in a form")]
    [TestCase("é:€", "é", "€", Description = "raw UTF-8, which RFC 7617 alone would ask for")]
    [TestCase("id:a\nb", "id", "a\nb")]
    public void Id_and_secret_are_split_and_then_decoded(string wire, string id, string secret) =>
        Assert.That(Parsed("Basic " + TokenRequestBuilder.Base64(wire)), Is.EqualTo((id, secret)));

    // RFC 9110 §11.1: the scheme has no case; one or more spaces follow it.
    [TestCase("Basic {0}")]
    [TestCase("basic {0}")]
    [TestCase("BASIC {0}")]
    [TestCase("bAsIc   {0}")]
    public void The_scheme_has_no_case_and_is_followed_by_one_or_more_spaces(string header) =>
        Assert.That(Parsed(Formatted(header)), Is.EqualTo(("id", "secret")));

    [TestCase("")]
    [TestCase("Basic")]
    [TestCase("{0}")]
    [TestCase(" {0}")]
    [TestCase("Basic{0}")]
    [TestCase("Basic\t{0}")]
    [TestCase("Basic\u00A0{0}")]
    [TestCase("Basic:{0}")]
    [TestCase("Basics {0}")]
    [TestCase("Bas\u0131c {0}", Description = "a dotless i is no i")]
    [TestCase("Bearer {0}")]
    [TestCase("Digest {0}")]
    public void Another_scheme_is_refused(string header) =>
        Assert.That(Refused(Formatted(header)), Is.EqualTo("the scheme of the Authorization header is not Basic"));

    [TestCase("Basic {0} ")]
    [TestCase("Basic {0}, Basic {0}", Description = "two headers that a proxy joined")]
    [TestCase("Basic {0} {0}")]
    [TestCase("Basic \t{0}")]
    [TestCase("Basic {0}\r\n")]
    [TestCase("Basic \"{0}\"")]
    [TestCase("Basic aWQ6c2Vj\ncmV0")]
    [TestCase("Basic aWQ6c2Vj cmV0", Description = "white space inside")]
    [TestCase("Basic aWQ6cw", Description = "without its padding")]
    [TestCase("Basic aWQ6cw=")]
    [TestCase("Basic aWQ6cw===")]
    [TestCase("Basic =aWQ6cw=")]
    [TestCase("Basic aWQ6cw==aWQ6", Description = "padding inside")]
    [TestCase("Basic aWQ6c", Description = "a digit too many")]
    [TestCase("Basic ====")]
    [TestCase("Basic aWQ6Pz8_", Description = "the alphabet of base64url")]
    [TestCase("Basic aWQ6Pj4-")]
    [TestCase("Basic id:secret", Description = "not encoded at all")]
    [TestCase("Basic aWQ6c2VjcmV0\u00E9")]
    [TestCase("Basic aWQ6c2VjcmV0\0")]
    public void Credentials_that_are_not_Base64_are_refused(string header) =>
        Assert.That(Refused(Formatted(header)), Is.EqualTo("not Base64"));

    [TestCase("")]
    [TestCase("idsecret")]
    [TestCase("id%3Asecret", Description = "an encoded colon divides nothing")]
    public void Credentials_without_a_colon_are_refused(string wire) =>
        Assert.That(Refused("Basic " + TokenRequestBuilder.Base64(wire)), Is.EqualTo("no colon"));

    [TestCase("id:100%")]
    [TestCase("id:%zz")]
    [TestCase("id:%4")]
    [TestCase("i%d:secret")]
    [TestCase("id:%E9", Description = "Latin-1")]
    [TestCase("id:%C0%80")]
    [TestCase("id:%ED%A0%80")]
    public void A_bad_encoding_is_refused(string wire) =>
        Assert.That(Refused("Basic " + TokenRequestBuilder.Base64(wire)),
            Is.EqualTo("the id or the secret has a % without two hexadecimal digits after it, or is not UTF-8"));

    // A deliberate leniency: RFC 4648 §3.5 lets a decoder overlook what a careless encoder left in the unused bits.
    [Test]
    public void The_unused_bits_of_Base64_are_ignored() =>
        Assert.That(Parsed("Basic aWQ6cx=="), Is.EqualTo(Parsed("Basic aWQ6cw==")));

    [Test]
    public void At_most_4096_characters_of_Base64_are_read()
    {
        using (Assert.EnterMultipleScope())
        {
            Assert.That(Parsed($"Basic {OfLength(4096)}").Secret, Has.Length.EqualTo((4096 / 4 * 3) - 3));
            Assert.That(Refused($"Basic {OfLength(4100)}"), Is.EqualTo("longer than 4096 characters"));
        }

        static string OfLength(int length) => TokenRequestBuilder.Base64("id:" + new string('s', (length / 4 * 3) - 3));
    }

    [Test]
    public void The_longest_id_and_secret_fit_even_with_every_byte_encoded()
    {
        var id = string.Concat(Enumerable.Repeat("%61", 255));
        var secret = string.Concat(Enumerable.Repeat("%F0%9F%94%91", 64));

        Assert.That(Parsed("Basic " + TokenRequestBuilder.Base64($"{id}:{secret}")),
            Is.EqualTo((new string('a', 255), string.Concat(Enumerable.Repeat("🔑", 64)))));
    }

    // With it, the event log can say that the client did not form-encode its secret.
    [TestCase("id:a+b", "a+b")]
    [TestCase("id:a%2Bb", "a%2Bb")]
    [TestCase("id:secret", null)]
    [TestCase("i%64:a b", null)]
    public void A_secret_that_decoding_changed_is_kept_as_it_was_sent_too(string wire, string? undecoded) =>
        Assert.That(Read("Basic " + TokenRequestBuilder.Base64(wire)).UndecodedSecret, Is.EqualTo(undecoded));

    // The event log has it, if a client of that id is known.
    [TestCase("id:secret", "id")]
    [TestCase("i%64:100%", "id")]
    [TestCase("id:%FF", "id")]
    [TestCase("id", null)]
    [TestCase("i%d:secret", null)]
    public void The_client_id_is_read_although_the_secret_is_malformed(string wire, string? id) =>
        Assert.That(BasicCredentials.ReadClientId("Basic " + TokenRequestBuilder.Base64(wire)), Is.EqualTo(id));

    [TestCase("Basic x")]
    [TestCase("Bearer aWQ6c2VjcmV0")]
    [TestCase("")]
    [TestCase(null)]
    public void No_client_id_is_read_from_anything_else(string? header) =>
        Assert.That(BasicCredentials.ReadClientId(header), Is.Null);

    [Test, Rfc(6749, "10.3b")]
    public void Credentials_print_without_the_secret() =>
        Assert.That(new BasicCredentials("id", "secret").ToString(), Is.EqualTo("Basic id"));

    private static string Formatted(string header) =>
        header.Replace("{0}", Convert.ToBase64String(Encoding.ASCII.GetBytes("id:secret")), StringComparison.Ordinal);

    private static (string ClientId, string Secret) Parsed(string header)
    {
        var basic = Read(header);
        return (basic.ClientId, basic.Secret);
    }

    private static BasicCredentials Read(string header) =>
        BasicCredentials.Parse(header).TryGet(out var basic, out var error) ? basic : throw new AssertionException(error.Detail!);

    /// <summary>The reason for the log; the caller always sees the same error.</summary>
    private static string? Refused(string header)
    {
        if (BasicCredentials.Parse(header).TryGet(out _, out var error))
            return null;
        Assert.That(error, Is.EqualTo(OAuthError.InvalidClient(Reason.BasicMalformed, error.Detail)));
        return error.Detail;
    }
}
