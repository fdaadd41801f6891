using TokenService.Protocol;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Rfc6749;

/// <summary>An error response is JSON with one code and one description, and repeats nothing of the request.</summary>
[TestFixture, Rfc(6749, "5.2")]
public sealed class ErrorResponse : ServerFixture
{
    private const string Marker = "zebra\"<\\\u00E9";

    [Rfc(6749, "5.2a"), Rfc(6749, "5.2d"), Rfc(6749, "5.2e")]
    [TestCase("another method", 405, "invalid_request")]
    [TestCase("another media type", 415, "invalid_request")]
    [TestCase("query", 400, "invalid_request")]
    [TestCase("encoding", 400, "invalid_request")]
    [TestCase("repeat", 400, "invalid_request")]
    [TestCase("size", 413, "invalid_request")]
    [TestCase("two ways", 400, "invalid_request")]
    [TestCase("two names", 400, "invalid_request")]
    [TestCase("nobody", 401, "invalid_client")]
    [TestCase("scheme", 401, "invalid_client")]
    [TestCase("client", 401, "invalid_client")]
    [TestCase("secret", 401, "invalid_client")]
    [TestCase("no grant", 400, "invalid_request")]
    [TestCase("grant", 400, "unsupported_grant_type")]
    [TestCase("scope grammar", 400, "invalid_scope")]
    [TestCase("scope", 400, "invalid_scope")]
    public async Task An_error_response_has_its_code_and_repeats_nothing_of_the_request(
        string spoiled, int status, string code)
    {
        var answer = await Spoiled(spoiled).SendAsync(Server);

        using (Assert.EnterMultipleScope())
        {
            Assert.That(answer.Status, Is.EqualTo(status));
            Assert.That(answer.Headers["Content-Type"], Is.EqualTo("application/json"));
            Assert.That(answer.Headers["Cache-Control"], Is.EqualTo("no-store"));
            Assert.That(answer.Json.EnumerateObject().Select(member => member.Name), Is.EqualTo(["error", "error_description", "error_uri"]));
            Assert.That(answer.Json.GetProperty("error").GetString(), Is.EqualTo(code));
            Assert.That(answer.Body + string.Join(' ', answer.Headers.Values), Does.Not.Contain("zebra").IgnoreCase);
        }
    }

    // RFC 6749 §5.2 allows %x20-21 / %x23-5B / %x5D-7E. Some of these errors occur only on a broken server, so the test
    // makes them itself.
    [Test, Rfc(6749, "5.2e")]
    public void Codes_and_descriptions_use_only_the_characters_the_RFC_allows()
    {
        OAuthError[] errors =
        [
            OAuthError.InvalidRequest("x", "x"), OAuthError.InvalidClient("x"), OAuthError.UnsupportedGrantType(),
            OAuthError.InvalidScope("x", "x"), OAuthError.InvalidTarget("x", "x"), OAuthError.TooManyRequests("x", TimeSpan.Zero),
            OAuthError.TooManyTokens(TimeSpan.Zero, "x"), OAuthError.UnauthorizedClient("x", "x"),
            OAuthError.TemporarilyUnavailable("x", TimeSpan.Zero), OAuthError.ServerError(),
        ];

        foreach (var error in errors)
            Assert.That((string[])[error.Code, error.Description], Has.All.Matches(@"\A[\x20\x21\x23-\x5B\x5D-\x7E]+\z"));
    }

    // The client is authenticated first, so a stranger learns nothing of grants and scopes.
    [Rfc(6749, "5.2d")]
    [TestCase("password", "invoices:read")]
    [TestCase("client_credentials", "unknown")]
    [TestCase("client_credentials", "\\")]
    public async Task A_client_that_fails_to_authenticate_learns_nothing_of_grant_types_and_scopes(
        string grantType, string scope) =>
        (await TokenRequestBuilder.For(Client with { Secret = "wrong" }).Without("grant_type").With("grant_type", grantType)
            .WithScope(scope).SendAsync(Server)).IsInvalidClient();

    private TokenRequestBuilder Spoiled(string what) => what switch
    {
        "another method" => TokenRequestBuilder.For(Client).WithMethod(HttpMethod.Put),
        "another media type" => TokenRequestBuilder.For(Client).WithContentType("text/zebra"),
        "query" => TokenRequestBuilder.For(Client).WithPath("/token?client_secret=zebra"),
        "encoding" => TokenRequestBuilder.For(Client).WithBody("zebra=%"),
        "repeat" => TokenRequestBuilder.For(Client).With(Marker, "x").With(Marker, "y"),
        "size" => TokenRequestBuilder.For(Client).With(Marker, new string('z', 16384)),
        "two ways" => TokenRequestBuilder.For(Client).With("client_secret", Marker),
        "two names" => TokenRequestBuilder.For(Client).With("client_id", Marker),
        "nobody" => TokenRequestBuilder.Anonymous().With("client_id", Marker),
        "scheme" => TokenRequestBuilder.Anonymous().WithAuthorization("Zebra zebra"),
        "client" => TokenRequestBuilder.For(Client with { Id = Marker }),
        "secret" => TokenRequestBuilder.ByPost(Client with { Secret = Marker }),
        "no grant" => TokenRequestBuilder.For(Client).WithBody("zebra=zebra"),
        "grant" => TokenRequestBuilder.For(Client).WithBody("grant_type=zebra"),
        "scope grammar" => TokenRequestBuilder.For(Client).WithScope(Marker),
        "scope" => TokenRequestBuilder.For(Client).WithScope("zebra"),
        _ => throw new ArgumentOutOfRangeException(nameof(what)),
    };
}
