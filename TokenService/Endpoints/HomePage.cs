using TokenService.Limits;
using TokenService.Protocol;
using TokenService.Revocation;

namespace TokenService.Endpoints;

/// <summary>The page at the issuer's address, for a person who opens it in a browser.</summary>
internal sealed class HomePage(Issuer issuer, DocumentThrottle throttle)
{
    private readonly HtmlPage page = new("TokenService", Body(issuer), throttle);

    public Task AnswerAsync(HttpContext http) => page.AnswerAsync(http);

    private static string Body(Issuer issuer)
    {
        var metadata = new Uri(new Uri(issuer.Value), MetadataEndpoint.PathFor(issuer)).AbsoluteUri;
        return $"""
            <p>This is an OAuth 2.0 authorization server for machines: programs get access tokens here in their own name, with the
            client credentials grant (RFC 6749 §4.4). Nobody can log in.</p>

            <h2>Get a token</h2>
            <pre><code>curl -u "$CLIENT_ID:$CLIENT_SECRET" -d grant_type=client_credentials \
              {HtmlPage.Text(issuer.Endpoint(TokenEndpoint.Path))}</code></pre>
            <p>The client_id and the secret come from an admin of this server.
            A request that is refused gets a JSON object; its <code>error_uri</code> leads to a page that explains the error.</p>

            <h2>Verify a token</h2>
            <ul>
            <li>The issuer is <code>{HtmlPage.Text(issuer.Value)}</code></li>
            <li>{Link(metadata)} has the metadata (RFC 8414)</li>
            <li>{Link(issuer.Endpoint(JwksEndpoint.Path))} has the public keys (RFC 7517)</li>
            <li>{Link(RevokedTokensList.AddressAt(issuer))} has the signed list of revoked tokens</li>
            </ul>

            <h2>Health</h2>
            <p>At the root of this server, <code>{EndpointsSetup.LivePath}</code> says whether the process is up, and
            <code>{ReadinessEndpoint.Path}</code> whether it is ready to serve.</p>
            """;
    }

    private static string Link(string address) => $"""<a href="{HtmlPage.Text(address)}">{HtmlPage.Text(address)}</a>""";
}
