using System.Buffers;
using System.Text;
using TokenService.Protocol;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Rfc6749;

/// <summary>A body taken apart into parameters.</summary>
[TestFixture, Rfc(6749, "3.2"), Rfc(6749, "B")]
public sealed class FormParameters
{
    [TestCase("a=1", "1")]
    [TestCase("a=1&b=2", "1")]
    [TestCase("b=2&a=1", "1")]
    [TestCase("%61=%31", "1")]
    [TestCase("a=b=c", "b=c", Description = "only the first equals sign divides")]
    [TestCase("a==", "=")]
    [TestCase("a=1;b=2", "1;b=2", Description = "a semicolon divides nothing")]
    [TestCase("a=1%26b=2", "1&b=2")]
    [TestCase("a=+", " ")]
    [TestCase("a=%00", "\0")]
    [TestCase("a=\"1\"", "\"1\"")]
    [TestCase("=x&a=1", "1", Description = "a parameter without a name is one we do not know")]
    public void A_parameter_has_the_value_it_was_sent_with(string body, string value) =>
        Assert.That(Parsed(body)["a"], Is.EqualTo(value));

    [Rfc(6749, "3.2b")]
    [TestCase("", Description = "it is not there at all")]
    [TestCase("a")]
    [TestCase("a=")]
    [TestCase("a=&b=1")]
    [TestCase("b=1&a")]
    public void A_parameter_without_a_value_is_omitted(string body) =>
        Assert.That(Parsed(body)["a"], Is.Null);

    [TestCase("A=1")]
    [TestCase("a+=1")]
    [TestCase("a%00=1")]
    [TestCase("%C3%A0=1")]
    [TestCase("a[]=1")]
    public void Another_name_is_another_parameter(string body) =>
        Assert.That(Parsed(body)["a"], Is.Null);

    // A deliberate leniency: no RFC asks for it, and some clients send it.
    [TestCase("&a=1")]
    [TestCase("a=1&")]
    [TestCase("&&a=1&&")]
    [TestCase("b=2&&a=1")]
    public void An_extra_ampersand_is_ignored(string body) =>
        Assert.That(Parsed(body)["a"], Is.EqualTo("1"));

    // A deliberate leniency: half the tutorials send scope=read write, and the parser of the WHATWG URL standard reads
    // it the same way.
    [TestCase("a=b c", "b c")]
    [TestCase("a= ", " ")]
    [TestCase("a=€", "€")]
    [TestCase("a=1\n&b=2", "1\n")]
    [TestCase("a=1\r\nb=2", "1\r\nb=2")]
    [TestCase("a=\0", "\0")]
    [TestCase("a=\u007F", "\u007F")]
    [TestCase("\uFEFFa=2&a=1", "1", Description = "a byte order mark makes another name")]
    public void An_octet_that_should_have_been_encoded_stands_for_itself(string body, string value) =>
        Assert.That(Parsed(body)["a"], Is.EqualTo(value));

    // A deliberate leniency: echo, editors and here-documents add a line break at the end.
    [TestCase("a=1\n")]
    [TestCase("a=1\r\n")]
    [TestCase("a=1\n\n")]
    [TestCase("a=1&\n")]
    [TestCase("b=2&a=1\n")]
    public void A_line_break_at_the_very_end_is_ignored(string body) =>
        Assert.That(Parsed(body)["a"], Is.EqualTo("1"));

    [Test]
    public void An_encoded_line_break_at_the_end_is_part_of_the_value() =>
        Assert.That(Parsed("a=1%0A")["a"], Is.EqualTo("1\n"));

    // The parameter would be an unknown one, and ignored.
    [TestCase("a=1&\nb=2")]
    [TestCase("a=1&\r\n  b=2")]
    [TestCase(" a=1")]
    [TestCase("a=1& b")]
    [TestCase("a=1&\n&b=2")]
    [TestCase("+a=1")]
    [TestCase("%0Aa=1")]
    [TestCase("%C2%A0a=1")]
    public void White_space_before_a_name_is_refused(string body) =>
        Assert.That(Refused(body), Is.EqualTo(OAuthError.InvalidRequest(
            Reason.WhiteSpaceBeforeName,
            "White space stands before the name of a parameter. Send the body on one line, with only & between parameters.")));

    // The event log has it, if a client of that id is known.
    [TestCase("client_id=c&a=%")]
    [TestCase("a=%&client_id=c")]
    [TestCase("a=1&a=1&client_id=c")]
    [TestCase(" a=1&client_id=c")]
    [TestCase("client_id=c&client_id=d", Description = "the first of two")]
    public void A_refused_body_still_tells_the_client_id(string body) =>
        Assert.That(Refused(body)!.ClientId, Is.EqualTo("c"));

    [TestCase("a=%&client_id=%")]
    [TestCase("a=%& client_id=c")]
    [TestCase("a=%&client_id=")]
    public void A_refused_body_without_a_client_id_that_can_be_read_tells_none(string body) =>
        Assert.That(Refused(body)!.ClientId, Is.Null);

    [Rfc(6749, "3.2d")]
    [TestCase("a=1&a=2")]
    [TestCase("a=1&a=1")]
    [TestCase("a=1&b=2&a=1")]
    [TestCase("a=1&%61=1", Description = "it is the name that repeats, not its spelling")]
    [TestCase("a=&a=", Description = "without values too")]
    [TestCase("a&a")]
    [TestCase("a=1&a=")]
    [TestCase("a&a=1")]
    [TestCase("=1&=2")]
    public void A_repeated_parameter_is_refused(string body) =>
        Assert.That(Refused(body), Is.EqualTo(OAuthError.InvalidRequest(Reason.ParameterRepeated,
            "A parameter is repeated. Separate several scopes by spaces.")));

    [TestCase("a=%")]
    [TestCase("%=1")]
    [TestCase("a=%zz")]
    [TestCase("a=%E2%82")]
    [TestCase("%FF=1")]
    [TestCase("a=1&b=%FF", Description = "in a parameter we do not know")]
    [TestCase("a=1&b%")]
    public void A_badly_encoded_name_or_value_is_refused(string body) =>
        Assert.That(Refused(body), Is.EqualTo(OAuthError.InvalidRequest(
            Reason.BodyBadlyEncoded,
                "The body has a % without two hexadecimal digits after it, or octets that are not UTF-8. Encode % as %25.")));

    [Test]
    public void At_most_64_parameters_are_read()
    {
        using (Assert.EnterMultipleScope())
        {
            Assert.That(Parsed(Many(64))["p64"], Is.EqualTo("x"));
            Assert.That(Refused(Many(65)),
                Is.EqualTo(OAuthError.InvalidRequest(Reason.TooManyParameters,
                    "The body has more than 64 parameters.")));
        }

        static string Many(int count) => string.Join('&', Enumerable.Range(1, count).Select(n => $"p{n}=x"));
    }

    [Test]
    public void At_most_16_KiB_are_read()
    {
        using (Assert.EnterMultipleScope())
        {
            Assert.That(Parsed("a=" + new string('x', (16 * 1024) - 2))["a"], Has.Length.EqualTo((16 * 1024) - 2));
            Assert.That(Refused("a=" + new string('x', (16 * 1024) - 1)),
                Is.EqualTo(OAuthError.InvalidRequest(Reason.BodyTooLarge,
                    "The body is larger than 16 KiB.", status: 413)));
        }
    }

    // The network may cut a body anywhere, also inside a percent sequence.
    [Test]
    public void A_body_is_read_alike_however_it_is_cut_into_segments()
    {
        var body = "grant_type=client_credentials&scope=a%3Ab+c&x=%E2%82%AC"u8.ToArray();

        for (var at = 0; at <= body.Length; at++)
            IsWhole(body[..at], body[at..]);
        IsWhole([.. body.Select(b => new[] { b })]);
        IsWhole([], body, []);

        static void IsWhole(params byte[][] segments)
        {
            Assert.That(Form.Parse(Segment.Join(segments)).TryGet(out var form, out _), Is.True);
            Assert.That((form!["grant_type"], form["scope"], form["x"]), Is.EqualTo(("client_credentials", "a:b c", "€")));
        }
    }

    [Test]
    public void A_repeated_parameter_is_detected_across_segments()
    {
        var body = "a=1&%61=2"u8.ToArray();
        Assert.That(Form.Parse(Segment.Join([.. body.Select(b => new[] { b })])).TryGet(out _, out _), Is.False);
    }

    private static Form Parsed(string body) =>
        Form.Parse(Bytes(body)).TryGet(out var form, out var error) ? form : throw new AssertionException(error.Description);

    private static OAuthError? Refused(string body) => Form.Parse(Bytes(body)).TryGet(out _, out var error) ? null : error;

    private static ReadOnlySequence<byte> Bytes(string body) => new(Encoding.UTF8.GetBytes(body));

    private sealed class Segment : ReadOnlySequenceSegment<byte>
    {
        public static ReadOnlySequence<byte> Join(params byte[][] segments)
        {
            var first = new Segment { Memory = segments[0] };
            var last = segments.Skip(1).Aggregate(first, (previous, bytes) => previous.Followed(bytes));
            return new ReadOnlySequence<byte>(first, 0, last, last.Memory.Length);
        }

        private Segment Followed(byte[] bytes)
        {
            var next = new Segment { Memory = bytes, RunningIndex = RunningIndex + Memory.Length };
            Next = next;
            return next;
        }
    }
}
