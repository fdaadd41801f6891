using TokenService.Configuration;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Rfc8414;

/// <summary>
/// An issuer is compared by code points (RFC 8414 §4) and becomes part of addresses (RFC 8414 §3), so there must be one
/// way to write it.
/// </summary>
[TestFixture, Rfc(8414, "2a"), Rfc(8414, "4")]
public sealed class IssuerIdentifier
{
    private const string NotAnIssuer =
        "Issuer must be an https address of host, port and plain path, such as https://auth.example.com: "
        + "no user, query, fragment or escapes (RFC 8414 §2).";
    private const string NotHttps = "Issuer must be https: plain http is for Development and for loopback addresses.";

    [TestCase("https://id.example.com?", NotAnIssuer)]
    [TestCase("https://id.example.com/?tenant=a", NotAnIssuer)]
    [TestCase("https://id.example.com#", NotAnIssuer)]
    [TestCase("https://id.example.com/#a", NotAnIssuer)]
    [TestCase("https://user@id.example.com", NotAnIssuer)]
    [TestCase("https://user:password@id.example.com", NotAnIssuer)]
    [TestCase("https://id.example.com/tenant a", NotAnIssuer)]
    [TestCase(" https://id.example.com", NotAnIssuer)]
    [TestCase("https://id.example.com\n", NotAnIssuer)]
    [TestCase("https://", NotAnIssuer)]
    [TestCase("id.example.com", NotAnIssuer)]
    [TestCase("/tenant/a", NotAnIssuer)]
    [TestCase("ftp://id.example.com", NotAnIssuer)]
    [TestCase("urn:example:issuer", NotAnIssuer)]
    [TestCase("https://id.example.com:99999", NotAnIssuer)]
    [TestCase("https://id.example.com\\a", NotAnIssuer)]
    [TestCase("https://id.example.com//", NotAnIssuer)]
    [TestCase("https://id.example.com/a//b", NotAnIssuer)]
    [TestCase("https://id.example.com/a/../b", NotAnIssuer)]
    [TestCase("https://id.example.com/./a", NotAnIssuer)]
    [TestCase("https://id.example.com/a%20b", NotAnIssuer)]
    [TestCase("https://id.example.com/{tenant}", NotAnIssuer)]
    [TestCase("https://id.example.com/tén", NotAnIssuer)]
    [TestCase("https://idé.example", NotAnIssuer)]
    [TestCase("http://id.example.com", NotHttps)]
    [TestCase("http://127.0.0.1.example.com", NotHttps)]
    [TestCase("http://192.0.2.1", NotHttps)]
    [TestCase("", "Issuer is missing. Set it to the https address under which clients reach this server.")]
    public async Task An_invalid_issuer_keeps_the_server_from_starting(string issuer, string message)
    {
        // Settings are checked before they are used, so this test needs no database.
        var refusal = await Assert.ThrowsAsync<OperatorException>(
            () => TestServer.StartAsync("Host=127.0.0.1", new FakeClock(), $"Issuer={issuer}"));

        Assert.That(refusal!.Message, Is.EqualTo(message));
    }

    // A deliberate leniency: a developer's machine has no certificate.
    [Test]
    public async Task Plain_http_is_allowed_in_Development()
    {
        await using var database = await Database.CreateAsync();
        await using var server = await TestServer.StartAsync(
            database, "environment=Development", "Issuer=http://id.internal.example");

        var metadata = await server.GetAsync("/.well-known/oauth-authorization-server");

        Assert.That(metadata.Json.GetProperty("issuer").GetString(), Is.EqualTo("http://id.internal.example"));
    }
}
