using System.Globalization;
using System.Text;
using System.Text.Unicode;
using TokenService.Protocol;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Rfc6749;

/// <summary>One name or value of application/x-www-form-urlencoded, in UTF-8.</summary>
[TestFixture, Rfc(6749, "B"), Rfc(6749, "3.2f")]
public sealed class FormEncoding
{
    // RFC 6749 appendix B's own example: space, %, &, +, pound sign, euro sign.
    [TestCase("+%25%26%2B%C2%A3%E2%82%AC", " %&+£€")]
    [TestCase("", "")]
    [TestCase("%c2%a3%e2%82%aC", "£€")]
    [TestCase("a+b%20c%2Bd", "a b c+d")]
    [TestCase("%2525", "%25")]
    [TestCase("%00", "\0")]
    [TestCase("%0D%0A", "\r\n")]
    [TestCase("%EF%BB%BFa", "\uFEFFa", Description = "a byte order mark is a character like any other")]
    [TestCase("e%CC%81", "e\u0301", Description = "nothing is normalised")]
    [TestCase("%F4%8F%BF%BF", "\U0010FFFF")]
    public void An_encoded_value_is_decoded_to_the_original(string encoded, string decoded) =>
        Assert.That(Decode(encoded), Is.EqualTo(decoded));

    [TestCase("%")]
    [TestCase("a%")]
    [TestCase("%4")]
    [TestCase("a%4")]
    [TestCase("%%")]
    [TestCase("%%41")]
    [TestCase("%G0")]
    [TestCase("%0G")]
    [TestCase("% 1")]
    [TestCase("%+1")]
    [TestCase("%-1")]
    [TestCase("%0x")]
    [TestCase("%u0041")]
    [TestCase("%41%")]
    public void A_bad_percent_sequence_is_refused(string encoded) =>
        Assert.That(Decode(encoded), Is.Null);

    [TestCase("%80", Description = "a continuation without a start")]
    [TestCase("%C2", Description = "a start without its continuation")]
    [TestCase("%C2+", Description = "a start before something else")]
    [TestCase("%E2%82", Description = "cut off")]
    [TestCase("%E2%82a", Description = "cut off by a letter")]
    [TestCase("%C0%80", Description = "NUL, overlong")]
    [TestCase("%C1%BF", Description = "DEL, overlong")]
    [TestCase("%E0%9F%BF", Description = "overlong in three bytes")]
    [TestCase("%F0%8F%BF%BF", Description = "overlong in four bytes")]
    [TestCase("%ED%A0%80", Description = "the first surrogate")]
    [TestCase("%ED%BF%BF", Description = "the last surrogate")]
    [TestCase("%F4%90%80%80", Description = "beyond U+10FFFF")]
    [TestCase("%F8%88%80%80%80", Description = "five bytes")]
    [TestCase("%FE")]
    [TestCase("%FF")]
    [TestCase("%A3", Description = "a pound sign in Latin-1")]
    public void Bytes_that_are_not_UTF8_are_refused(string encoded) =>
        Assert.That(Decode(encoded), Is.Null);

    // A deliberate leniency: the parser of the WHATWG URL standard reads raw characters the same way.
    [Test]
    public void Every_ASCII_character_but_percent_and_plus_stands_for_itself()
    {
        foreach (var c in Enumerable.Range(0, 0x80).Select(code => (char)code).Except(['%', '+']))
            Assert.That(Decode([(byte)c]), Is.EqualTo($"{c}"));
    }

    [TestCase("£€", "£€")]
    [TestCase("\uFEFFa", "\uFEFFa")]
    [TestCase("read write", "read write")]
    public void Raw_UTF8_stands_for_itself(string encoded, string decoded) =>
        Assert.That(Decode(encoded), Is.EqualTo(decoded));

    [Test]
    public void A_raw_octet_that_is_not_UTF8_is_refused()
    {
        foreach (var octet in Enumerable.Range(0x80, 0x80))
            Assert.That(Decode([(byte)octet]), Is.Null);
    }

    [Test]
    public void Every_scalar_value_of_Unicode_survives_encoding()
    {
        foreach (var plane in Enumerable.Range(0, 0x110000).Where(Rune.IsValid).Chunk(0x8000))
        {
            var text = string.Concat(plane.Select(scalar => new Rune(scalar)));
            var encoded = string.Concat(Encoding.UTF8.GetBytes(text).Select(b => $"%{b:X2}"));

            Assert.That(Decode(encoded), Is.EqualTo(text));
        }
    }

    // The decoder keeps short values on the stack and long ones on the heap; both must behave alike.
    [Test]
    public void A_value_of_any_length_is_decoded_alike([Values(511, 512, 513, 16384)] int length)
    {
        using (Assert.EnterMultipleScope())
        {
            Assert.That(Decode(new string('+', length)), Is.EqualTo(new string(' ', length)));
            Assert.That(Decode(new string('a', length - 1) + "%"), Is.Null);
            Assert.That(Decode(new string('a', length - 3) + "%E2"), Is.Null);
        }
    }

    [Test]
    public void Two_bytes_after_a_percent_sign_are_two_hexadecimal_digits_or_refused()
    {
        var pairs =
            from first in Enumerable.Range(0, 256)
            from second in Enumerable.Range(0, 256)
            select (First: (byte)first, Second: (byte)second);

        var wrong = pairs.Where(pair => Decode([(byte)'%', pair.First, pair.Second]) != Expected(pair.First, pair.Second));

        Assert.That(wrong, Is.Empty);
    }

    private static string? Expected(byte first, byte second)
    {
        if (!char.IsAsciiHexDigit((char)first) || !char.IsAsciiHexDigit((char)second))
            return null;
        var value = byte.Parse($"{(char)first}{(char)second}", NumberStyles.HexNumber, CultureInfo.InvariantCulture);
        return Utf8.IsValid([value]) ? $"{(char)value}" : null;
    }

    private static string? Decode(string encoded) => Decode(Encoding.UTF8.GetBytes(encoded));

    private static string? Decode(byte[] encoded) => FormUrlEncoding.TryDecode(encoded, out var decoded) ? decoded : null;
}
