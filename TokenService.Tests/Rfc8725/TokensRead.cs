using System.Buffers.Text;
using System.Globalization;
using System.Numerics;
using System.Text;
using Microsoft.IdentityModel.JsonWebTokens;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Rfc8725;

/// <summary>
/// The one place where a JWT is read: our own, shown to us again. What is wrong with a token in one place is in
/// <see cref="BadTokens"/>, and sent in Rfc7662/InactiveTokens; here is what takes more than that.
/// </summary>
[TestFixture, Rfc(8725, "3")]
public sealed class TokensRead : IntrospectionFixture
{
    private ProtectedApi verifier = null!;

    [OneTimeSetUp]
    public async Task StartVerifier() => verifier = await ProtectedApi.StartAsync(Server);

    [OneTimeTearDown]
    public async Task StopVerifier() => await (verifier?.DisposeAsync() ?? ValueTask.CompletedTask);

    [Test, Rfc(8725, "3.11"), Rfc(8725, "3.12"), Rfc(9701, "8.1")]
    public async Task A_signed_answer_is_no_access_token()
    {
        var answer = await TokenRequestBuilder.Introspect(Api, await IssueAsync())
            .WithHeader("Accept", "application/token-introspection+jwt").SendAsync(Server);

        (await IntrospectAsync(answer.Body)).IsInactive();
        await IsRefusedByVerifierAsync(answer.Body);
    }

    [Test, Rfc(8725, "3.11"), Rfc(8725, "3.12")]
    public async Task A_list_of_revoked_tokens_is_no_access_token()
    {
        var list = await Server.GetAsync("/revoked-tokens");

        (await IntrospectAsync(list.Body)).IsInactive();
        await IsRefusedByVerifierAsync(list.Body);
    }

    // All that tells them from an access token is their type, in case they should ever say as much as one.
    [Test, Rfc(8725, "3.11"), Rfc(8725, "3.12"), Rfc(9701, "8.1")]
    public async Task What_says_all_that_an_access_token_does_is_none_by_its_type(
        [Values("token-introspection+jwt", "revoked-tokens+jwt", "dpop+jwt", "client-authentication+jwt", "JWT", "AT+JWT",
            "application/at+jwt")]
        string type)
    {
        var forged = new Forgery(await IssueAsync()).WithHeader("typ", type).SignedBy(await Forgery.KeyOfAsync(Server));

        (await IntrospectAsync(forged)).IsInactive();
    }

    // A parser may take what these are for text, and find out too late that it is none.
    [TestCase("""{"alg":"ES256","kid":"KID","typ":"\ud800"}""")]
    [TestCase("""{"alg":"ES256","kid":"\udfff","typ":"at+jwt"}""")]
    [TestCase("""{"alg":"\ud800x","kid":"KID","typ":"at+jwt"}""")]
    [TestCase("""{"\ud800":1,"alg":"ES256","kid":"KID","typ":"at+jwt"}""")]
    [TestCase("""{"alg":"ES256","kid":"KID","typ":"at+jwtÿ"}""")]
    [TestCase("""{"alg":"ES256","kid":"ÿKID","typ":"at+jwt"}""")]
    [TestCase("""{"alg":"ES256","kid":"KID","typ":"at+jwt","ÿ":1}""")]
    [TestCase("""{"alg":"ES256","kid":"KID\u0000","typ":"at+jwt"}""")]
    [Rfc(8725, "3.7")]
    public async Task A_header_that_is_no_text_is_refused(string header)
    {
        var token = await IssueAsync();
        var kid = (await PublishedKey.ReadAllAsync(Server))[0].Kid;

        // Latin-1 makes one byte of "ÿ", which UTF-8 never has.
        var forged = new Forgery(token).WithRawHeader(Encoding.Latin1.GetBytes(header.Replace("KID", kid, StringComparison.Ordinal)))
            .SignedBy(await Forgery.KeyOfAsync(Server));

        (await IntrospectAsync(forged)).IsInactive();
    }

    [TestCase("client_id", "nobody\u0000")]
    [TestCase("client_id", "")]
    [TestCase("client_id", "a client")]
    [TestCase("jti", "")]
    [TestCase("jti", "\u0000")]
    [TestCase("jti", "a jti")]
    [TestCase("scope", "")]
    [TestCase("scope", " invoices:read")]
    public async Task A_claim_outside_its_grammar_is_refused(string name, string value)
    {
        var forged = new Forgery(await IssueAsync()).WithClaim(name, value).SignedBy(await Forgery.KeyOfAsync(Server));

        (await IntrospectAsync(forged)).IsInactive();
    }

    // What is longer the database could not take, should its client revoke it.
    [Test]
    public async Task A_jti_may_have_64_characters()
    {
        using var key = await Forgery.KeyOfAsync(Server);
        var token = await IssueAsync();
        var (longest, longer) = (WithIdOf(64), WithIdOf(65));

        (await IntrospectAsync(longest)).IsActive(longest);
        (await IntrospectAsync(longer)).IsInactive();
        foreach (var jwt in new[] { longest, longer })
            (await TokenRequestBuilder.Revoke(Client, jwt).SendAsync(Server)).IsDone(contentType: null);

        string WithIdOf(int length) => new Forgery(token).WithClaim("jti", new string('x', length)).SignedBy(key);
    }

    // RFC 9068 §2.2: all that every token of ours has.
    [Test, Rfc(9068, "4")]
    public async Task A_token_that_lacks_a_claim_is_refused(
        [Values("iss", "aud", "exp", "iat", "jti", "client_id", "scope")] string name)
    {
        var forged = new Forgery(await IssueAsync()).WithoutClaim(name).SignedBy(await Forgery.KeyOfAsync(Server));

        (await IntrospectAsync(forged)).IsInactive();
    }

    // RFC 7515 §2 and RFC 4648 §3.5: bits that mean nothing, and padding, would make a second token of one.
    [Test, Rfc(7515, "2")]
    public async Task A_token_is_written_in_one_way_only()
    {
        var token = await IssueAsync();
        var parts = token.Split('.');

        // 64 bytes leave four bits of the last character over.
        var last = Base64UrlAlphabet[Base64UrlAlphabet.IndexOf(token[^1], StringComparison.Ordinal) + 1];

        (await IntrospectAsync(token[..^1] + last)).IsInactive();
        (await IntrospectAsync(token + "==")).IsInactive();
        (await IntrospectAsync(token.Replace('-', '+').Replace('_', '/') + "=")).IsInactive();
        (await IntrospectAsync(string.Join(".\n", parts))).IsInactive();
        (await IntrospectAsync(token)).IsActive(token);
    }

    // With r and s, r and n-s are right too, for every verifier: a second token that says the same, jti included, and dies with the first.
    [Test, Rfc(7518, "3.4")]
    public async Task The_twin_of_a_signature_makes_no_other_token()
    {
        var token = await IssueAsync();
        var twin = new Forgery(token).WithSignature(TwinOf(Base64Url.DecodeFromChars(token.Split('.')[2])));
        Assert.That(twin, Is.Not.EqualTo(token));
        (await IntrospectAsync(twin)).IsActive(token);

        (await TokenRequestBuilder.Revoke(Client, twin).SendAsync(Server)).IsDone(contentType: null);

        (await IntrospectAsync(twin)).IsInactive();
        (await IntrospectAsync(token)).IsInactive();
    }

    // A key that is published and does not sign yet is known to every verifier.
    [Test, Rfc(8725, "3.1"), Rfc(8725, "3.8")]
    public async Task A_token_is_judged_by_the_key_it_names()
    {
        var token = await IssueAsync();
        var kid = new JsonWebToken(token).Kid;
        var other = (await PublishedKey.ReadAllAsync(Server)).First(key => key.Kid != kid);

        var forged = new Forgery(token).WithHeader("kid", other.Kid).SignedBy(await Forgery.KeyOfAsync(Server));

        (await IntrospectAsync(forged)).IsInactive();
    }

    private const string Base64UrlAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

    private static byte[] TwinOf(byte[] signature)
    {
        // The order of P-256, FIPS 186-4 §D.1.2.3.
        var n = BigInteger.Parse(
            "0FFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551", NumberStyles.HexNumber, CultureInfo.InvariantCulture);
        var s = n - new BigInteger(signature.AsSpan(32), isUnsigned: true, isBigEndian: true);
        var bytes = s.ToByteArray(isUnsigned: true, isBigEndian: true);
        return [.. signature[..32], .. new byte[32 - bytes.Length], .. bytes];
    }

    private async Task IsRefusedByVerifierAsync(string jwt)
    {
        var answer = await verifier.GetAsync($"Bearer {jwt}");
        using (Assert.EnterMultipleScope())
        {
            Assert.That(answer.Status, Is.EqualTo(401));
            Assert.That(verifier.Failure, Is.Not.Null);
        }
    }
}
