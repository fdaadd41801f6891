using TokenService.Protocol;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Rfc6749;

/// <summary>The grammar of the scope parameter.</summary>
[TestFixture, Rfc(6749, "3.3"), Rfc(6749, "3.3a")]
public sealed class ScopeSyntax
{
    [TestCase("a", "a")]
    [TestCase("a b", "a b")]
    [TestCase("invoices:read invoices:write", "invoices:read invoices:write")]
    [TestCase("https://api.example.com/.default", "https://api.example.com/.default")]
    [TestCase("!#$%&'()*+,-./:;<=>?@[]^_`{|}~", "!#$%&'()*+,-./:;<=>?@[]^_`{|}~")]
    [TestCase("a,b", "a,b", Description = "a comma divides nothing")]
    public void Scope_tokens_are_separated_by_single_spaces(string scope, string read) =>
        Assert.That(Parsed(scope), Is.EqualTo(read));

    [Rfc(6749, "3.3b")]
    [TestCase("b a", "a b")]
    [TestCase("a a", "a")]
    [TestCase("b a b a", "a b")]
    [TestCase("a A", "A a", Description = "case tells tokens apart")]
    [TestCase("a-b aB ab a_b", "a-b aB a_b ab", Description = "sorted by code point, in every culture")]
    public void Order_and_repetition_of_scope_tokens_are_ignored(string scope, string read) =>
        Assert.That(Parsed(scope), Is.EqualTo(read));

    [TestCase("")]
    [TestCase(" ")]
    [TestCase(" a")]
    [TestCase("a ")]
    [TestCase("a  b")]
    [TestCase("a\tb")]
    [TestCase("a\nb")]
    [TestCase("a\u00A0b")]
    [TestCase("\"a\"")]
    [TestCase("a\\b")]
    [TestCase("a\0")]
    [TestCase("café")]
    [TestCase("a\u2003b")]
    [TestCase("🔑")]
    public void A_scope_outside_the_grammar_is_refused(string scope) =>
        Assert.That(Refused(scope), Is.EqualTo(OAuthError.InvalidScope(
            Reason.ScopeMalformed,
                "The scope parameter is not a list of scopes, separated by single spaces, of characters that a scope may have.")));

    // scope-token = 1*( %x21 / %x23-5B / %x5D-7E )
    [Test]
    public void Only_the_characters_of_the_grammar_make_a_scope_token()
    {
        var accepted = Enumerable.Range(0, 0x10000).Where(code => Refused($"{(char)code}") is null);

        Assert.That(accepted, Is.EqualTo(
            [0x21, .. Enumerable.Range(0x23, 0x5B - 0x23 + 1), .. Enumerable.Range(0x5D, 0x7E - 0x5D + 1)]));
    }

    [Test]
    public void At_most_2048_characters_are_read()
    {
        using (Assert.EnterMultipleScope())
        {
            Assert.That(Parsed(new string('a', 2048)), Has.Length.EqualTo(2048));
            Assert.That(Refused(new string('a', 2049)),
                Is.EqualTo(OAuthError.InvalidScope(Reason.ScopeTooLong,
                    "The scope parameter is longer than 2048 characters.")));
            Assert.That(Refused(string.Join(' ', Enumerable.Repeat("a", 1025))),
                Is.EqualTo(OAuthError.InvalidScope(Reason.ScopeTooLong,
                    "The scope parameter is longer than 2048 characters.")), "repetition counts");
        }
    }

    private static string Parsed(string scope) =>
        ScopeSet.Parse(scope).TryGet(out var set, out var error) ? set.ToString() : throw new AssertionException(error.Description);

    private static OAuthError? Refused(string scope) => ScopeSet.Parse(scope).TryGet(out _, out var error) ? null : error;
}
