using TokenService.Tests.Harness;

namespace TokenService.Tests.Rfc9701;

/// <summary>The caller chooses the form of the answer with Accept (RFC 9110 §12.5.1).</summary>
[TestFixture, Rfc(9701, "4")]
public sealed class AcceptedTypes : IntrospectionFixture
{
    private const string Signed = "application/token-introspection+jwt";

    private string token = null!;

    [OneTimeSetUp]
    public async Task Issue() => token = await IssueAsync();

    [TestCase("application/token-introspection+jwt")]
    [TestCase("Application/Token-Introspection+JWT")]
    [TestCase("application/token-introspection+jwt;q=0.001")]
    [TestCase("application/token-introspection+jwt; charset=utf-8; q=1")]
    [TestCase("application/token-introspection+jwt, application/json")]
    [TestCase("application/json;q=0.5, application/token-introspection+jwt;q=0.8")]
    [TestCase("application/json;q=0, application/token-introspection+jwt;q=0.1")]
    [TestCase("text/html, */*;q=0.1, application/token-introspection+jwt;q=0.2")]
    [TestCase(" , application/token-introspection+jwt,")]
    public async Task The_answer_is_signed_for_a_caller_that_prefers_the_signed_type(string accept) =>
        IsSigned(await AcceptingAsync(accept));

    [Test]
    public async Task The_answer_is_signed_for_a_caller_that_names_the_signed_type_in_one_of_two_headers() =>
        IsSigned(await AcceptingAsync("text/html", Signed));

    [TestCase("application/json")]
    [TestCase("*/*")]
    [TestCase("application/*")]
    [TestCase("application/jwt")]
    [TestCase("text/html")]
    [TestCase("application/token-introspection+jwt;q=0")]
    [TestCase("application/token-introspection+jwt;q=0, */*")]
    [TestCase("application/token-introspection+jwt;q=0.5, application/json")]
    [TestCase("application/json;q=0.9, application/token-introspection+jwt;q=0.8")]
    [TestCase("application/token-introspection+jwtx")]
    [TestCase("")]
    public async Task The_answer_is_JSON_for_a_caller_that_does_not_prefer_the_signed_type(string accept) =>
        (await AcceptingAsync(accept)).IsActive(token);

    [Test]
    public async Task The_answer_is_JSON_for_a_caller_without_an_Accept_header() =>
        (await AcceptingAsync()).IsActive(token);

    // RFC 9110 §12.5.1 lets a server disregard an Accept header that it does not understand. The answer may then have
    // either form, but it is no error.
    [TestCase("rubbish")]
    [TestCase(",,,")]
    [TestCase("application/")]
    [TestCase("/")]
    [TestCase(";q=1")]
    [TestCase("application/token-introspection+jwt;q=")]
    [TestCase("application/token-introspection+jwt;q=x")]
    [TestCase("application/token-introspection+jwt;q=-1")]
    [TestCase("application/token-introspection+jwt;q=1e999")]
    [TestCase("application/token-introspection+jwt;q=5")]
    [TestCase("application/token-introspection+jwt;q=NaN")]
    [TestCase("application/token-introspection+jwt;\"")]
    [TestCase("application/token-introspection+jwt; q=\"0.5\"")]
    [TestCase("*/application")]
    [TestCase("application/token-introspection+jwt;q=0.5;q=0.1;q=1")]
    public async Task A_malformed_Accept_header_gets_an_answer_in_either_form(string accept)
    {
        var answer = await AcceptingAsync(accept);

        if (answer.Headers["Content-Type"] == Signed)
            IsSigned(answer);
        else
            answer.IsActive(token);
    }

    [Test]
    public async Task An_Accept_header_of_a_thousand_types_is_read()
    {
        (await AcceptingAsync(string.Join(',', Enumerable.Repeat("a/b;q=0.1", 1000)))).IsActive(token);
        IsSigned(await AcceptingAsync(string.Join(',', Enumerable.Repeat("a/b;q=0.1", 1000)) + "," + Signed));
    }

    private static void IsSigned(Answer answer)
    {
        answer.IsDone(answer.Body, Signed);
        Assert.That(answer.Body, Does.Match(@"\A[\w-]+\.[\w-]+\.[\w-]+\z"));
    }

    private Task<Answer> AcceptingAsync(params string[] accept)
    {
        var request = TokenRequestBuilder.Introspect(Api, token);
        foreach (var value in accept)
            request.WithHeader("Accept", value);
        return request.SendAsync(Server);
    }
}
