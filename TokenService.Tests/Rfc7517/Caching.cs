using TokenService.Tests.Harness;

namespace TokenService.Tests.Rfc7517;

/// <summary>How long a verifier may cache these documents, and how it asks whether they changed.</summary>
[TestFixture("/.well-known/jwks.json", "application/jwk-set+json", 300)]
[TestFixture("/.well-known/oauth-authorization-server", "application/json", 300)]
[TestFixture("/.well-known/openid-configuration", "application/json", 300)]
[TestFixture("/revoked-tokens", "application/revoked-tokens+jwt", 30)]
[Rfc(9111, "D"), Rfc(9110, "13.1.2")]
public sealed class Caching(string path, string contentType, int maxAge) : ServerFixture
{
    private string etag = null!;

    private Dictionary<string, string> CacheHeaders => new()
    {
        ["Cache-Control"] = $"public, max-age={maxAge}",
        ["ETag"] = etag,
        ["X-Content-Type-Options"] = "nosniff",
    };

    private Dictionary<string, string> DocumentHeaders => new(CacheHeaders) { ["Content-Type"] = contentType };

    [OneTimeSetUp]
    public async Task ReadTag() => etag = (await Server.GetAsync(path)).Headers["ETag"];

    [Test]
    public async Task A_document_is_cacheable_and_has_a_strong_ETag()
    {
        var answer = await Server.GetAsync(path);

        using (Assert.EnterMultipleScope())
        {
            Assert.That(answer.Headers, Is.EquivalentTo(DocumentHeaders));
            Assert.That(etag, Does.Match("^\"[A-Za-z0-9_-]{22}\"$"));
        }
    }

    [TestCase("{0}")]
    [TestCase("W/{0}", Description = "RFC 9110 §13.1.2: compared weakly.")]
    [TestCase("*")]
    [TestCase("\"other\", {0}")]
    [TestCase("{0},\"other\"")]
    [TestCase("\"other\" , W/\"more\" ,{0}")]
    [TestCase("\"a, b\", {0}")]
    [TestCase("\"\", {0}")]
    public async Task A_request_with_the_current_ETag_gets_304_without_a_body(string ifNoneMatch)
    {
        foreach (var method in new[] { HttpMethod.Get, HttpMethod.Head })
            IsNotModified(await Server.SendAsync(method, path, ("If-None-Match", string.Format(null, ifNoneMatch, etag))));
    }

    [Test]
    public async Task ETags_in_several_headers_are_all_compared() =>
        IsNotModified(await Server.GetAsync(path, ("If-None-Match", "\"other\""), ("If-None-Match", etag)));

    [TestCase("\"other\"")]
    [TestCase("W/\"other\"")]
    [TestCase("\"*\"")]
    [TestCase("")]
    [TestCase("nonsense")]
    [TestCase("{1}", Description = "Not a tag: it has no quotation marks.")]
    [TestCase("\"{1}x\"")]
    [TestCase("\"x{1}\"")]
    public async Task A_request_with_another_ETag_gets_the_whole_document(string ifNoneMatch)
    {
        var answer = await Server.GetAsync(path, ("If-None-Match", string.Format(null, ifNoneMatch, etag, etag.Trim('"'))));

        IsWhole(answer);
        Assert.That(answer.Body, Is.EqualTo((await Server.GetAsync(path)).Body));
    }

    // RFC 9110 §13.1.3: the document has no Last-Modified, so If-Modified-Since does not apply.
    [Test]
    public async Task If_Modified_Since_is_ignored() =>
        IsWhole(await Server.GetAsync(path, ("If-Modified-Since", "Fri, 31 Dec 2100 23:59:59 GMT")));

    [Test, Rfc(9110, "9.3.2")]
    public async Task HEAD_has_the_headers_of_GET_and_no_body()
    {
        using var request = new HttpRequestMessage(HttpMethod.Head, path);
        using var response = await Server.Client.SendAsync(request);
        var answer = await Answer.ReadAsync(response);

        IsWhole(answer);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(answer.Body, Is.Empty);
            Assert.That(response.Content.Headers.ContentLength, Is.EqualTo((await Server.GetAsync(path)).Body.Length));
        }
    }

    [Test]
    public async Task A_method_other_than_GET_and_HEAD_is_refused(
        [Values("POST", "PUT", "PATCH", "DELETE", "OPTIONS")] string method)
    {
        var answer = await Server.SendAsync(new HttpMethod(method), path);

        using (Assert.EnterMultipleScope())
        {
            Assert.That(answer.Status, Is.EqualTo(405));
            Assert.That(answer.Headers, Is.EquivalentTo(new Dictionary<string, string>
            {
                ["Allow"] = "GET, HEAD",
                ["X-Content-Type-Options"] = "nosniff",
            }));
            Assert.That(answer.Body, Is.Empty);
        }
    }

    private void IsWhole(Answer answer)
    {
        using (Assert.EnterMultipleScope())
        {
            Assert.That(answer.Status, Is.EqualTo(200));
            Assert.That(answer.Headers, Is.EquivalentTo(DocumentHeaders));
        }
    }

    private void IsNotModified(Answer answer)
    {
        using (Assert.EnterMultipleScope())
        {
            Assert.That(answer.Status, Is.EqualTo(304));
            Assert.That(answer.Headers, Is.EquivalentTo(CacheHeaders));
            Assert.That(answer.Body, Is.Empty);
        }
    }
}
