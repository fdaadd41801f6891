using TokenService.Tests.Harness;

namespace TokenService.Tests.Rfc6749;

/// <summary>
/// A server whose issuer is https takes credentials over TLS only. No proxy is listed, so no header can say that a proxy
/// terminated TLS.
/// </summary>
[TestFixture, Rfc(6749, "1.6")]
public sealed class TransportSecurity : ServerFixture
{
    private const string Refused = "This endpoint answers only over TLS.";

    private protected override string[] Settings => ["Issuer=https://as.example.com"];

    [Test]
    public async Task Plain_HTTP_is_refused() =>
        (await TokenRequestBuilder.For(Client).SendAsync(Server)).IsError(400, "invalid_request", Refused);

    [TestCase("https")]
    [TestCase("http")]
    [TestCase("https, http")]
    [TestCase("")]
    public async Task Plain_HTTP_is_refused_whatever_a_header_says(string scheme) =>
        (await TokenRequestBuilder.For(Client).WithHeader("X-Forwarded-Proto", scheme).SendAsync(Server))
            .IsError(400, "invalid_request", Refused);

    // A mesh side-car, or a TCP balancer that ends TLS, adds no header.
    [Test]
    public async Task Plain_HTTP_is_accepted_where_a_setting_says_that_TLS_ended_before([Values] bool isOn)
    {
        await using var server = await TestServer.StartAsync(Database, [.. Settings, $"TlsTerminatedUpstream={isOn}"]);
        var answer = await TokenRequestBuilder.For(Client).SendAsync(server);

        if (isOn)
            answer.IsGrant("invoices:read");
        else
            answer.IsError(400, "invalid_request", Refused);
        Assert.That(
            server.Log.Lines.Count(line => line.StartsWith("Warning", StringComparison.Ordinal)
                && line.Contains("TlsTerminatedUpstream is on", StringComparison.Ordinal)),
            Is.EqualTo(isOn ? 1 : 0));
    }

    // The server does not send 100 Continue, so the client never sends the credentials in the body.
    [Test]
    public async Task Plain_HTTP_is_refused_before_the_body_is_sent()
    {
        await using var wire = await RawConnection.OpenAsync(Server);
        await wire.SendAsync($"{RawConnection.Head(Client)}Content-Length: 29\nExpect: 100-continue\n\n");

        Assert.That(await wire.ReadLineAsync(), Is.EqualTo("HTTP/1.1 400 Bad Request"));
    }
}
