using System.Collections.Frozen;
using TokenService.Limits;
using TokenService.Protocol;

namespace TokenService.Endpoints;

/// <summary>
/// <c>GET /errors/&lt;code&gt;</c>: a page for each error code that this server sends, to which <c>error_uri</c> leads
/// (RFC 6749 §5.2). The pages say the same to everybody, so they can list the causes of <c>invalid_client</c>, which its
/// answer must not tell apart.
/// </summary>
internal sealed class ErrorPages(DocumentThrottle throttle)
{
    private const string Folder = "/errors/";

    private static readonly Explanation[] Explanations =
    [
        new(
            "invalid_request",
            "The request is malformed: a parameter is missing or repeated, the body is no form, or credentials are sent in two "
            + "ways.",
            [
                "The error_description says which. Correct the request; sending it again does not help.",
                "The body is application/x-www-form-urlencoded, on one line: grant_type=client_credentials&amp;scope=read%20write",
                "A parameter occurs once. Several scopes are one parameter, with spaces between them.",
                "The client sends its credentials in the Authorization header or in the body, never in both and never in the address.",
            ]),
        new(
            "invalid_client",
            "The server could not authenticate the client. The answer is the same for every cause, so that nobody can find out "
            + "which clients exist. The operator finds the cause in the event log, under the Request-Id header of the answer.",
            [
                "The client_id or the secret is wrong, was cut off, or is one of another environment.",
                "The secret has expired, was revoked, or is not valid yet; or the client is disabled.",
                "The client may not send its secret in the body, unless an admin allowed it client_secret_post.",
                "The secret ends in a line break, as one that was put into a file or a Kubernetes secret with echo.",
                "The header was made with base64, which breaks its output into lines: use base64 -w0, or let curl -u make it.",
                "The id or the secret has a colon, a plus or a percent sign. In HTTP Basic each must be form-encoded (RFC 6749 "
                + "§2.3.1); many libraries do not do that. Send it in the body then, or encode it: %3A, %2B, %25.",
                "There are no credentials in the request: a redirect, a proxy or an empty variable may have removed them.",
                "An assertion (private_key_jwt) has another aud than the issuer alone, is older than 5 minutes, was sent twice, has a "
                + "kid that is not registered, or another alg than its key.",
            ]),
        new(
            "unauthorized_client",
            "The client is authenticated, but may not do this. Only a client that an admin registered for an API may introspect "
            + "tokens.",
            ["Ask an admin to register the client as a resource server of the API."]),
        new(
            "unsupported_grant_type",
            "The only grant here is the client credentials grant.",
            ["Send grant_type=client_credentials. There are no users here, so there are no passwords, codes and refresh tokens."]),
        new(
            "unsupported_response_type",
            "This server has no authorization endpoint that grants anything. Some libraries insist on its address, and do not use "
            + "it.",
            ["Use the client credentials grant at the token endpoint."]),
        new(
            "invalid_scope",
            "The client asked for a scope that it may not have or that does not exist, or for none although it has no default "
            + "scopes.",
            [
                "Scopes are separated by single spaces, not by commas. Upper and lower case differ.",
                "All scopes of a token belong to one API. Ask for those of another API in a second request.",
                "An admin grants scopes to the client. A new scope can be asked for at once.",
            ]),
        new(
            "invalid_target",
            "The resource (or audience) is malformed, unknown, or none that the client has a scope at; or the scope does not tell "
            + "which is meant.",
            [
                "Each character counts: https://api.example.com/ is not https://api.example.com.",
                "A resource is an absolute URI without a fragment. An audience may also be a plain name.",
                "A token is for one resource.",
            ]),
        new(
            "invalid_dpop_proof",
            "The DPoP proof is malformed or was made for another request, or it is missing where the token must be bound to a key.",
            [
                "The error_description says which check failed.",
                "Each request needs a new proof, with a new jti and the present time as iat.",
                "The htm is POST. The htu is the token_endpoint of the metadata, character by character, even behind a proxy.",
                "The alg is one of dpop_signing_alg_values_supported of the metadata, and fits the key in the header's jwk.",
            ]),
        new(
            "use_dpop_nonce",
            "The DPoP proof must have a nonce of this server. This is no failure: the answer brings the nonce.",
            ["Make a new proof with the value of the header DPoP-Nonce as its claim nonce, and send the request again."]),
        new(
            "temporarily_unavailable",
            "The server cannot or will not answer now: too many requests, too many failed attempts, or its database is unavailable.",
            [
                "Wait as many seconds as the Retry-After header says, and a little longer at random, then ask again.",
                "A client that often gets 429 asks for tokens too often: keep a token for most of its life, for all that run in the "
                + "process.",
            ]),
        new(
            "server_error",
            "The server failed. This is a bug in it.",
            ["Give the Request-Id header of the answer to the operator: the log has the cause under it."]),
    ];

    private readonly FrozenDictionary<string, HtmlPage> pages = Explanations.ToFrozenDictionary(
        explanation => explanation.Code, explanation => new HtmlPage(explanation.Code, explanation.Body, throttle));

    /// <summary>The codes that have a page.</summary>
    public static IEnumerable<string> Codes => Explanations.Select(explanation => explanation.Code);

    /// <summary>The value of <c>error_uri</c>.</summary>
    public static string AddressOf(Issuer issuer, string code) => issuer.Endpoint(Folder + code);

    /// <summary>Maps the page of each code.</summary>
    public void Map(WebApplication app, Issuer issuer, string[] methods)
    {
        foreach (var (code, page) in pages)
            app.MapMethods(issuer.Path + Folder + code, methods, page.AnswerAsync);
    }

    /// <param name="Code">The <c>error</c> member.</param>
    /// <param name="Meaning">HTML.</param>
    /// <param name="Hints">HTML: the causes, or what to do.</param>
    private sealed record Explanation(string Code, string Meaning, string[] Hints)
    {
        public string Body => $"<p>{Meaning}</p>\n<ul>\n{string.Join('\n', Hints.Select(hint => $"<li>{hint}</li>"))}\n</ul>";
    }
}
