using System.Buffers.Text;
using System.Globalization;
using System.Numerics;
using System.Text;
using Microsoft.IdentityModel.JsonWebTokens;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Rfc8725;

/// <summary>
/// The JWTs that the server reads: its own, presented to it again. <see cref="BadTokens"/> has the tokens with one
/// flaw, which Rfc7662/InactiveTokens sends; this fixture has the cases that take more than one change.
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
    public async Task A_signed_introspection_answer_is_refused_as_an_access_token()
    {
        var answer = await TokenRequestBuilder.Introspect(Api, await IssueAsync())
            .WithHeader("Accept", "application/token-introspection+jwt").SendAsync(Server);

        (await IntrospectAsync(answer.Body)).IsInactive();
        await IsRefusedByVerifierAsync(answer.Body);
    }

    [Test, Rfc(8725, "3.11"), Rfc(8725, "3.12")]
    public async Task A_list_of_revoked_tokens_is_refused_as_an_access_token()
    {
        var list = await Server.GetAsync("/revoked-tokens");

        (await IntrospectAsync(list.Body)).IsInactive();
        await IsRefusedByVerifierAsync(list.Body);
    }

    // If another kind of JWT ever had all claims of an access token, only the type would tell the two apart.
    [Test, Rfc(8725, "3.11"), Rfc(8725, "3.12"), Rfc(9701, "8.1")]
    public async Task A_JWT_of_another_type_is_refused_even_with_all_claims_of_an_access_token(
        [Values("token-introspection+jwt", "revoked-tokens+jwt", "dpop+jwt", "client-authentication+jwt", "jwt", "AT+JWT",
            "application/at+jwt")]
        string type)
    {
        var forged = new Forgery(await IssueAsync()).WithHeader("typ", type).SignedBy(await Forgery.KeyOfAsync(Server));

        (await IntrospectAsync(forged)).IsInactive();
    }

    // An admin may choose the type JWT for a resource, and choose again while older tokens live.
    [Test, Rfc(8725, "3.11")]
    public async Task The_type_of_any_JWT_is_taken_with_all_claims_of_an_access_token()
    {
        var token = new Forgery(await IssueAsync()).WithHeader("typ", "JWT").SignedBy(await Forgery.KeyOfAsync(Server));

        (await IntrospectAsync(token)).IsActive(token);
    }

    // A parser may accept these bytes as text and fail only later.
    [TestCase("""{"alg":"ES256","kid":"KID","typ":"\ud800"}""")]
    [TestCase("""{"alg":"ES256","kid":"\udfff","typ":"at+jwt"}""")]
    [TestCase("""{"alg":"\ud800x","kid":"KID","typ":"at+jwt"}""")]
    [TestCase("""{"\ud800":1,"alg":"ES256","kid":"KID","typ":"at+jwt"}""")]
    [TestCase("""{"alg":"ES256","kid":"KID","typ":"at+jwtÿ"}""")]
    [TestCase("""{"alg":"ES256","kid":"ÿKID","typ":"at+jwt"}""")]
    [TestCase("""{"alg":"ES256","kid":"KID","typ":"at+jwt","ÿ":1}""")]
    [TestCase("""{"alg":"ES256","kid":"KID\u0000","typ":"at+jwt"}""")]
    [Rfc(8725, "3.7")]
    public async Task A_header_that_is_not_valid_text_is_refused(string header)
    {
        var token = await IssueAsync();
        var kid = (await PublishedKey.ReadAllAsync(Server))[0].Kid;

        // Latin-1 encodes "ÿ" as one byte that never occurs in UTF-8.
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

    // The database could not store a longer jti when the client revokes the token.
    [Test]
    public async Task A_jti_has_at_most_64_characters()
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

    // RFC 9068 §2.2: every token of this server has these claims.
    [Test, Rfc(9068, "4")]
    public async Task A_token_that_lacks_a_claim_is_refused(
        [Values("iss", "aud", "exp", "iat", "jti", "client_id", "scope")] string name)
    {
        var forged = new Forgery(await IssueAsync()).WithoutClaim(name).SignedBy(await Forgery.KeyOfAsync(Server));

        (await IntrospectAsync(forged)).IsInactive();
    }

    // RFC 7515 §2 and RFC 4648 §3.5: with padding, or with other unused bits, one token would have several spellings.
    [Test, Rfc(7515, "2")]
    public async Task A_token_has_only_one_accepted_spelling()
    {
        var token = await IssueAsync();
        var parts = token.Split('.');

        // 64 bytes leave four bits of the last character unused.
        var last = Base64UrlAlphabet[Base64UrlAlphabet.IndexOf(token[^1], StringComparison.Ordinal) + 1];

        (await IntrospectAsync(token[..^1] + last)).IsInactive();
        (await IntrospectAsync(token + "==")).IsInactive();
        (await IntrospectAsync(token.Replace('-', '+').Replace('_', '/') + "=")).IsInactive();
        (await IntrospectAsync(string.Join(".\n", parts))).IsInactive();
        (await IntrospectAsync(token)).IsActive(token);
    }

    // When (r, s) is a valid signature, so is (r, n-s), for every verifier. This makes a second token with the same
    // claims, jti included, and it must be revoked together with the first.
    [Test, Rfc(7518, "3.4")]
    public async Task A_token_with_the_twin_signature_is_revoked_together_with_the_original()
    {
        var token = await IssueAsync();
        var twin = new Forgery(token).WithSignature(TwinOf(Base64Url.DecodeFromChars(token.Split('.')[2])));
        Assert.That(twin, Is.Not.EqualTo(token));
        (await IntrospectAsync(twin)).IsActive(token);

        (await TokenRequestBuilder.Revoke(Client, twin).SendAsync(Server)).IsDone(contentType: null);

        (await IntrospectAsync(twin)).IsInactive();
        (await IntrospectAsync(token)).IsInactive();
    }

    // Every verifier knows the next key already, because it is published before it signs.
    [Test, Rfc(8725, "3.1"), Rfc(8725, "3.8")]
    public async Task A_token_is_verified_with_the_key_that_its_kid_names()
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
