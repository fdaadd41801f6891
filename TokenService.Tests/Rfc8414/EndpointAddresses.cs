using TokenService.Tests.Harness;

namespace TokenService.Tests.Rfc8414;

/// <summary>
/// The addresses of the documents and endpoints, for an issuer with or without a path, each with or without a slash at
/// its end.
/// </summary>
[TestFixture("https://id.example.com", "")]
[TestFixture("https://id.example.com/", "")]
[TestFixture("https://ID.Example.COM:443/tenant/A", "/tenant/A")]
[TestFixture("https://id.example.com/tenant/a/", "/tenant/a")]
[Rfc(8414, "3")]
public sealed class EndpointAddresses(string issuer, string path) : ServerFixture
{
    private const string WellKnown = "/.well-known/oauth-authorization-server";

    private protected override string[] Settings => [$"Issuer={issuer}", "Proxies=127.0.0.1"];

    [Test, Rfc(8414, "3a"), Rfc(8414, "3.3"), Rfc(8414, "4")]
    public async Task The_metadata_is_between_host_and_path_and_names_the_issuer_unchanged()
    {
        var metadata = await Server.GetAsync(WellKnown + path);

        Assert.That(metadata.Json.GetProperty("issuer").GetString(), Is.EqualTo(issuer));
    }

    [Test, Rfc(8414, "3b")]
    public async Task The_OpenID_address_of_the_metadata_is_behind_the_path()
    {
        var old = await Server.GetAsync(path + "/.well-known/openid-configuration");

        // It has two more members at its end.
        Assert.That(old.Body, Does.StartWith((await Server.GetAsync(WellKnown + path)).Body[..^1] + ","));
    }

    [Test, Rfc(8414, "2h"), Rfc(6749, "3.2e")]
    public async Task The_listed_addresses_continue_the_issuer_with_exactly_one_slash()
    {
        var metadata = (await Server.GetAsync(WellKnown + path)).Json;

        using (Assert.EnterMultipleScope())
        {
            Assert.That(metadata.GetProperty("token_endpoint").GetString(), Is.EqualTo($"{issuer.TrimEnd('/')}/token"));
            Assert.That(metadata.GetProperty("jwks_uri").GetString(), Is.EqualTo($"{issuer.TrimEnd('/')}/.well-known/jwks.json"));
        }
    }

    [Test, Rfc(8414, "3.3")]
    public async Task A_token_from_the_listed_token_endpoint_names_the_same_issuer()
    {
        var metadata = (await Server.GetAsync(WellKnown + path)).Json;

        var answer = await TokenRequestBuilder.For(Client)
            .WithPath(new Uri(metadata.GetProperty("token_endpoint").GetString()!).AbsolutePath)
            .WithHeader("X-Forwarded-Proto", "https")
            .SendAsync(Server);

        answer.IsGrant("invoices:read");
        Assert.That(answer.Token.Issuer, Is.EqualTo(issuer));
    }

    [Test, Rfc(8414, "3b"), Rfc(9068, "4b")]
    public async Task A_verifier_that_knows_only_the_issuer_accepts_a_token()
    {
        await using var api = await ProtectedApi.StartAsync(issuer, new TlsTerminatingProxy(Server.NewHandler()));
        var grant = await TokenRequestBuilder.For(Client)
            .WithPath(path + "/token").WithHeader("X-Forwarded-Proto", "https").SendAsync(Server);

        var answer = await api.GetAsync($"Bearer {grant.Token.EncodedToken}");

        Assert.That(answer.Status, Is.EqualTo(200), $"{api.Failure}");
    }

    [Test]
    public async Task The_addresses_of_another_issuer_are_not_found()
    {
        string[] elsewhere = path.Length == 0
            ? ["/tenant/a/token", WellKnown + "/tenant/a", "/tenant/a/.well-known/jwks.json"]
            : ["/token", WellKnown, "/.well-known/jwks.json", "/.well-known/openid-configuration", path + WellKnown];

        foreach (var address in elsewhere)
            Assert.That((await Server.GetAsync(address, ("X-Forwarded-Proto", "https"))).Status, Is.EqualTo(404), address);
    }

    /// <summary>Terminates TLS, as the proxy in front of a server does.</summary>
    private sealed class TlsTerminatingProxy(HttpMessageHandler next) : DelegatingHandler(next)
    {
        protected override Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
        {
            Assert.That(request.RequestUri!.Scheme, Is.EqualTo("https"));
            request.RequestUri = new UriBuilder(request.RequestUri) { Scheme = "http", Port = 80 }.Uri;
            request.Headers.Add("X-Forwarded-Proto", "https");
            return base.SendAsync(request, cancellationToken);
        }
    }
}
