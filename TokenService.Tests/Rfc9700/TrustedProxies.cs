using Microsoft.AspNetCore.Hosting;
using Microsoft.Extensions.DependencyInjection;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Rfc9700;

/// <summary>
/// A listed proxy may say that it terminated TLS. Rfc6749/TransportSecurity is about a server without listed proxies.
/// </summary>
[TestFixture, Rfc(9700, "4.13"), Rfc(6749, "1.6")]
public sealed class TrustedProxies
{
    private Database database = null!;
    private TestClient client = null!;
    private TestServer server = null!;

    [OneTimeSetUp]
    public async Task StartServer()
    {
        database = await Database.CreateAsync();
        client = await database.CreateClientAsync("billing");
        server = await TestServer.StartAsync(
            database.ConnectionString,
            new FakeClock(),
            services => services.AddSingleton<IStartupFilter, PeerFilter>(),
            "Issuer=https://id.example.com",
            "Proxies:0=192.0.2.0/24",
            "Proxies:1=203.0.113.7",
            "Proxies:2=2001:db8:1::/48");
    }

    [OneTimeTearDown]
    public async Task StopServer()
    {
        await (server?.DisposeAsync() ?? ValueTask.CompletedTask);
        await (database?.DisposeAsync() ?? ValueTask.CompletedTask);
    }

    [TestCase("https", true)]
    [TestCase("HTTPS", true)]
    [TestCase("http", false)]
    [TestCase("ftp", false)]
    [TestCase("", false)]
    [TestCase("http, https", true, Description = "A listed proxy wrote only the last one.")]
    [TestCase("https, http", false)]
    public async Task A_listed_proxy_says_by_which_scheme_the_request_came(string schemes, bool isTls)
    {
        var answer = await From("203.0.113.7", schemes).SendAsync(server);
        if (isTls)
            answer.IsGrant("invoices:read");
        else
            IsRefused(answer);
    }

    [TestCase("198.51.100.1, 192.0.2.9", "https, http", true, Description = "Two listed proxies, the inner one by plain HTTP.")]
    [TestCase("198.51.100.1, 2001:db8:1::1, 192.0.2.9", "https, http, http", true)]
    [TestCase("198.51.100.1, 192.0.2.9", "http, https", false, Description = "Plain HTTP to the outer proxy.")]
    [TestCase("192.0.2.9, 198.51.100.1", "https, http", false, Description = "The caller wrote the address of a proxy.")]
    [TestCase("198.51.100.1", "https, http", false, Description = "The caller wrote the first scheme.")]
    public async Task The_scheme_is_that_of_the_hop_to_the_outermost_listed_proxy(string addresses, string schemes, bool isTls)
    {
        var answer = await From("203.0.113.7", schemes).WithHeader("X-Forwarded-For", addresses).SendAsync(server);
        if (isTls)
            answer.IsGrant("invoices:read");
        else
            IsRefused(answer);
    }

    [TestCase("X-Forwarded-Scheme", "https")]
    [TestCase("X-Forwarded-Ssl", "on")]
    [TestCase("Forwarded", "proto=https")]
    [TestCase("X-Url-Scheme", "https")]
    [TestCase("Front-End-Https", "on")]
    public async Task No_other_header_is_believed(string name, string value) =>
        IsRefused(await TokenRequestBuilder.For(client).WithHeader(name, value).SendAsync(server));

    [TestCase("192.0.2.1")]
    [TestCase("192.0.2.255")]
    [TestCase("203.0.113.7")]
    [TestCase("2001:db8:1::9")]
    [TestCase("::ffff:203.0.113.7", Description = "A dual-stack socket writes IPv4 addresses in this form.")]
    [TestCase("::ffff:192.0.2.1")]
    public async Task A_listed_proxy_is_believed(string peer) =>
        (await From(peer).SendAsync(server)).IsGrant("invoices:read");

    [TestCase("127.0.0.1", Description = "Nor is this machine trusted.")]
    [TestCase("::1")]
    [TestCase("192.0.3.1")]
    [TestCase("203.0.113.8")]
    [TestCase("10.0.0.1", Description = "A private address is not trusted.")]
    [TestCase("2001:db8:2::9")]
    [TestCase("::ffff:203.0.113.8")]
    public async Task An_address_that_is_not_listed_is_not_believed(string peer) =>
        IsRefused(await From(peer).SendAsync(server));

    [Test]
    public async Task An_address_in_X_Forwarded_For_does_not_make_a_caller_a_proxy(
        [Values("127.0.0.1", "203.0.113.7")] string claimed) =>
        IsRefused(await From("198.51.100.1").WithHeader("X-Forwarded-For", claimed).SendAsync(server));

    // The server reads neither credentials nor body, so the answer reveals nothing of them.
    [Test]
    public async Task Every_request_over_plain_HTTP_gets_the_same_answer()
    {
        IsRefused(await TokenRequestBuilder.For(client with { Secret = "wrong" }).SendAsync(server));
        IsRefused(await TokenRequestBuilder.Anonymous().SendAsync(server));
        IsRefused(await TokenRequestBuilder.For(client).WithBody("%%%").SendAsync(server));
        IsRefused(await TokenRequestBuilder.For(client).WithContentType("text/plain").SendAsync(server));
    }

    private TokenRequestBuilder From(string peer, string proto = "https") =>
        TokenRequestBuilder.For(client).WithHeader(PeerFilter.Header, peer).WithHeader("X-Forwarded-Proto", proto);

    private static void IsRefused(Answer answer) =>
        answer.IsError(400, "invalid_request", "This endpoint answers only over TLS.");
}
