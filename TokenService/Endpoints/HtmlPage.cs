using System.Net;
using System.Security.Cryptography;
using System.Text;
using TokenService.Limits;

namespace TokenService.Endpoints;

/// <summary>
/// A static page for a person with a browser. It has no script, and its Content-Security-Policy allows nothing but its one
/// style sheet. If something else got into its text, it could neither run nor load anything.
/// </summary>
internal sealed class HtmlPage
{
    private const string Style = """
        :root { color-scheme: light dark; }
        body { max-width: 44rem; margin: 3rem auto; padding: 0 1rem; font: 1rem/1.5 system-ui, sans-serif; }
        h1 { font-size: 1.4rem; }
        h2 { font-size: 1.1rem; margin-top: 2rem; }
        pre { padding: .8rem 1rem; overflow-x: auto; border: 1px solid #8888; border-radius: .3rem; }
        code { font: .9em ui-monospace, monospace; }
        li { margin: .3rem 0; }
        """;

    private static readonly string ContentSecurityPolicy =
        $"default-src 'none'; style-src 'sha256-{Convert.ToBase64String(SHA256.HashData(Encoding.UTF8.GetBytes(Style)))}'; "
        + "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

    // The pages change only with the settings and the program.
    private static readonly TimeSpan MaxAge = TimeSpan.FromMinutes(5);

    private readonly CacheableDocument document;

    /// <param name="title">Plain text.</param>
    /// <param name="body">HTML. Text in it that is not constant has gone through <see cref="Text"/>.</param>
    /// <param name="throttle">Anybody may read a page, as often as they like.</param>
    public HtmlPage(string title, string body, DocumentThrottle throttle) => document = new CacheableDocument(
        Encoding.UTF8.GetBytes(
            $"""
            <!doctype html>
            <html lang="en">
            <meta charset="utf-8">
            <meta name="viewport" content="width=device-width, initial-scale=1">
            <title>{Text(title)}</title>
            <style>{Style}</style>
            <h1>{Text(title)}</h1>
            {body}
            </html>

            """),
        "text/html; charset=utf-8",
        MaxAge,
        throttle);

    /// <summary>Text as it stands in HTML, also inside an attribute in quotation marks.</summary>
    public static string Text(string text) => WebUtility.HtmlEncode(text);

    public Task AnswerAsync(HttpContext http)
    {
        http.Response.Headers.ContentSecurityPolicy = ContentSecurityPolicy;
        http.Response.Headers["Referrer-Policy"] = "no-referrer";
        return document.AnswerAsync(http);
    }
}
