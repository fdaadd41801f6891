using System.Security.Cryptography;
using System.Text;
using System.Text.RegularExpressions;
using TokenService.Endpoints;
using TokenService.Protocol;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Pages;

/// <summary>A person with a browser opens the issuer, or the page that an error leads to.</summary>
[TestFixture]
public sealed class PagesForPeople : ServerFixture
{
    private const string Issuer = "https://as.example.com/tenant";

    private static IEnumerable<string> Paths => ["/tenant", "/tenant/", .. ErrorPages.Codes.Select(code => $"/tenant/errors/{code}")];

    private protected override string[] Settings => [$"Issuer={Issuer}"];

    [TestCaseSource(nameof(Paths))]
    public async Task A_page_may_load_and_run_nothing_and_be_cached(string path)
    {
        var page = await GetAsync(path);
        var style = Regex.Match(page.Body, "<style>(.*?)</style>", RegexOptions.Singleline).Groups[1].Value;
        var hash = Convert.ToBase64String(SHA256.HashData(Encoding.UTF8.GetBytes(style)));

        using (Assert.EnterMultipleScope())
        {
            Assert.That(page.Status, Is.EqualTo(200));
            Assert.That(page.Headers.Where(header => header.Key != "ETag"), Is.EquivalentTo(new Dictionary<string, string>
            {
                ["Content-Type"] = "text/html; charset=utf-8",
                ["Content-Security-Policy"] = $"default-src 'none'; style-src 'sha256-{hash}'; "
                    + "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
                ["Referrer-Policy"] = "no-referrer",
                ["X-Content-Type-Options"] = "nosniff",
                ["Cache-Control"] = "public, max-age=300",
            }));
            Assert.That(page.Body, Does.StartWith("<!doctype html>").And.Not.Match("<script|javascript:|<[^>]* (style|on[a-z]+)="));
        }
    }

    [Test]
    public async Task A_page_is_revalidated_by_its_ETag()
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, "/tenant/errors/invalid_scope");
        request.Headers.TryAddWithoutValidation("If-None-Match", (await GetAsync("/tenant/errors/invalid_scope")).Headers["ETag"]);
        using var response = await Server.Client.SendAsync(request);

        Assert.That(((int)response.StatusCode, await response.Content.ReadAsStringAsync()), Is.EqualTo((304, "")));
    }

    [Test]
    public async Task The_page_of_the_issuer_has_its_addresses()
    {
        var page = (await GetAsync("/tenant")).Body;
        string[] links =
        [
            "https://as.example.com/.well-known/oauth-authorization-server/tenant",
            $"{Issuer}/.well-known/jwks.json",
            $"{Issuer}/revoked-tokens",
        ];

        using (Assert.EnterMultipleScope())
        {
            Assert.That(page, Does.Contain("-d grant_type=client_credentials \\\n  https://as.example.com/tenant/token<"));
            Assert.That(Regex.Matches(page, "href=\"(.*?)\"").Select(link => link.Groups[1].Value), Is.EqualTo(links));
            foreach (var link in links)
                Assert.That((await GetAsync(new Uri(link).AbsolutePath)).Status, Is.EqualTo(200), link);
        }
    }

    [TestCase("/")]
    [TestCase("/tenant/errors")]
    [TestCase("/tenant/errors/unknown")]
    [TestCase("/errors/invalid_client")]
    public async Task There_is_no_other_page(string path) => Assert.That((await GetAsync(path)).Status, Is.EqualTo(404));

    // RFC 6749 §5.2: error_uri. The answers themselves are asserted whole in every test of a refusal.
    [Test, Rfc(6749, "5.2")]
    public async Task An_error_leads_to_its_page()
    {
        var answer = await TokenRequestBuilder.For(Client).WithPath("/tenant/token").SendAsync(Server);
        answer.IsError(400, "invalid_request", "This endpoint answers only over TLS.");
        Assert.That(answer.Json.GetProperty("error_uri").GetString(), Is.EqualTo($"{Issuer}/errors/invalid_request"));
    }

    [Test, Rfc(6749, "5.2")]
    public void Every_error_code_has_a_page()
    {
        // Each factory of OAuthError makes an error; those with a code of their own are found by their source.
        var source = File.ReadAllText(Repository.PathTo("TokenService", "Protocol", "OAuthError.cs"));
        var codes = Regex.Matches(source, @"new\(\s*""([a-z_]+)""").Select(match => match.Groups[1].Value).Distinct().ToList();

        Assert.That(codes, Has.Count.GreaterThan(6).And.Contains(OAuthError.ServerError().Code));
        Assert.That(ErrorPages.Codes, Is.EquivalentTo(codes));
    }

    private async Task<Answer> GetAsync(string path)
    {
        using var response = await Server.Client.GetAsync(path);
        return await Answer.ReadAsync(response);
    }
}
