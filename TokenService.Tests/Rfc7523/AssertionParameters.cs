using TokenService.Protocol;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Rfc7523;

/// <summary>The parameters by which a client authenticates with an assertion.</summary>
[TestFixture, Rfc(7521, "4.2")]
public sealed class AssertionParameters : ServerFixture
{
    private const string Type = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

    private TestKey key = null!;

    [OneTimeSetUp]
    public async Task MakeClient() => key = await Database.CreateKeyClientAsync("signer");

    [Test, Rfc(7523, "2.2"), Rfc(7521, "4.2e")]
    public async Task A_client_authenticates_with_an_assertion_with_or_without_its_client_id()
    {
        (await Request().SendAsync(Server)).IsGrant();
        (await Request().With("client_id", "signer").SendAsync(Server)).IsGrant();
    }

    [Test, Rfc(7521, "4.2b")]
    public async Task A_client_id_of_another_client_is_refused() =>
        (await Request().With("client_id", "billing").SendAsync(Server)).IsError(
            400, "invalid_request", "The client_id in the body is not the subject of the client_assertion.");

    [Test, Rfc(7521, "4.2d")]
    public async Task The_type_without_an_assertion_is_refused_whatever_else_is_sent([Values] bool hasSecret)
    {
        var request = hasSecret ? TokenRequestBuilder.For(Client) : TokenRequestBuilder.Anonymous().With("client_id", "signer");

        (await request.With("client_assertion_type", Type).SendAsync(Server)).IsError(
            400, "invalid_request", "The parameter client_assertion is missing from the body.");
    }

    [Test, Rfc(7521, "4.2d")]
    public async Task An_assertion_without_its_type_is_refused() =>
        (await TokenRequestBuilder.Anonymous().With("client_assertion", Jwt()).SendAsync(Server)).IsError(
            400, "invalid_request", "The parameter client_assertion_type is missing from the body.");

    [Rfc(7521, "4.2a")]
    [TestCase("urn:ietf:params:oauth:client-assertion-type:saml2-bearer")]
    [TestCase("urn:ietf:params:oauth:client-assertion-type:jwt-spiffe")]
    [TestCase("URN:ietf:params:oauth:client-assertion-type:jwt-bearer")]
    [TestCase("jwt-bearer")]
    public async Task An_unknown_type_is_refused(string type) => await IsRefusedAsync(
        TokenRequestBuilder.Anonymous().With("client_assertion_type", type).With("client_assertion", Jwt()), Reason.AssertionTypeUnknown);

    [Test, Rfc(7521, "4.2c"), Rfc(7521, "4.2f"), Rfc(6749, "2.3")]
    public async Task An_assertion_beside_another_method_is_refused(
        [Values("Basic", "empty Basic", "secret")] string other)
    {
        var request = other switch
        {
            "Basic" => Request().WithBasic(Client.Id, Client.Secret),
            "empty Basic" => Request().WithAuthorization("Basic Og=="),
            _ => Request().With("client_secret", "wrong"),
        };

        (await request.SendAsync(Server)).IsError(
            400, "invalid_request",
            "The client authenticates in more than one way. Send the credentials either in the header or in the body.");
    }

    [Test, Rfc(7521, "4.2g"), Rfc(7523, "2.2")]
    public async Task Two_assertions_are_refused() =>
        (await Request().With("client_assertion", Jwt()).SendAsync(Server)).IsError(
            400, "invalid_request", "A parameter is repeated. Separate several scopes by spaces.");

    [Test, Rfc(7523, "3y")]
    public async Task An_assertion_has_at_most_8_KiB([Values(0, 1)] int tooMuch)
    {
        var jwt = OfLength(8192 + tooMuch);

        if (tooMuch == 0)
            (await TokenRequestBuilder.ByAssertion(jwt).SendAsync(Server)).IsGrant();
        else
            await IsRefusedAsync(TokenRequestBuilder.ByAssertion(jwt), Reason.AssertionTooLong);
    }

    [Rfc(7523, "3x"), Rfc(7523, "3g"), Rfc(8725, "2")]
    [TestCase("", TestName = "An assertion that is no JWT is refused (one period)")]
    [TestCase("a.b", TestName = "An assertion that is no JWT is refused (two parts)")]
    [TestCase("{0}.x", TestName = "An assertion that is no JWT is refused (four parts)")]
    [TestCase("{0}.x.y", TestName = "An assertion that is no JWT is refused (five parts, as an encrypted one)")]
    [TestCase("{0}=", TestName = "An assertion that is no JWT is refused (padding)")]
    [TestCase(" {0}", TestName = "An assertion that is no JWT is refused (a space before it)")]
    [TestCase("{0}\n", TestName = "An assertion that is no JWT is refused (a line break after it)")]
    [TestCase("{0}+", TestName = "An assertion that is no JWT is refused (a character outside base64url)")]
    [TestCase("{{\"payload\":\"e30\",\"signatures\":[]}}", TestName = "An assertion that is no JWT is refused (JSON serialisation)")]
    public async Task An_assertion_that_is_no_JWT_is_refused(string format)
    {
        var jwt = string.Format(System.Globalization.CultureInfo.InvariantCulture, format, Jwt());

        await IsRefusedAsync(
            TokenRequestBuilder.ByAssertion(jwt.Length == 0 ? "." : jwt).With("client_id", "signer"), Reason.AssertionMalformed);
    }

    [Test, Rfc(7523, "3x")]
    public async Task A_JWT_inside_a_JWT_is_refused()
    {
        var outer = SignedJwt.Assertion(Server, "signer", key).WithHeader("cty", "JWT").WithRawClaims($"\"{Jwt()}\"");

        await IsRefusedAsync(TokenRequestBuilder.ByAssertion(outer.Signed()), Reason.AssertionMalformed);
    }

    // Members that nobody reads, of the lengths that make the whole as long as wanted.
    private string OfLength(int length)
    {
        return (
            from inHeader in Enumerable.Range(0, 4)
            from inClaims in Enumerable.Range(5600, 400)
            let jwt = SignedJwt.Assertion(Server, "signer", key)
                .WithHeader("pad", new string('x', inHeader)).WithClaim("pad", new string('x', inClaims)).WithSignature(_ => new byte[64])
            where jwt.Length == length
            select SignedJwt.Assertion(Server, "signer", key)
                .WithHeader("pad", new string('x', inHeader)).WithClaim("pad", new string('x', inClaims)).Signed()).First();
    }

    private TokenRequestBuilder Request() => TokenRequestBuilder.ByAssertion(Jwt());

    private string Jwt() => SignedJwt.Assertion(Server, "signer", key).Signed();

    private async Task IsRefusedAsync(TokenRequestBuilder request, string reason)
    {
        var answer = await request.SendAsync(Server);
        answer.IsInvalidClient();
        Assert.That((await Server.Events.OfAsync(answer.RequestId)).GetProperty("reason").GetString(), Is.EqualTo(reason));
    }
}
