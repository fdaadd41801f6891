using System.Buffers;
using System.Globalization;
using System.Text.Json;
using Microsoft.Net.Http.Headers;
using TokenService.Protocol;

namespace TokenService.Endpoints;

/// <summary>The one place that writes the responses of the OAuth endpoints: status, headers, body.</summary>
internal sealed class OAuthResponse(Issuer issuer)
{
    // RFC 6749 §5.2 requires a challenge with the scheme that the client used; it is sent for every 401. RFC 7617 §2.1:
    // the charset tells clients that ids and secrets are UTF-8.
    private const string Challenge = "Basic realm=\"TokenService\", charset=\"UTF-8\"";

    private const string DpopNonce = "DPoP-Nonce";

    public static Task GrantAsync(HttpContext http, IAnswer answer)
    {
        // RFC 9449 §8.2: the client's next request then needs no second try.
        if (answer is TokenResponse { DpopNonce: { } nonce })
            http.Response.Headers[DpopNonce] = nonce;
        return WriteAsync(http, StatusCodes.Status200OK, answer);
    }

    public Task RefuseAsync(HttpContext http, OAuthError error)
    {
        var headers = http.Response.Headers;
        if (error.Status == StatusCodes.Status401Unauthorized)
            headers.WWWAuthenticate = Challenge;
        if (error.Status == StatusCodes.Status405MethodNotAllowed)
            headers.Allow = HttpMethods.Post;
        if (error.RetryAfter is { } wait)
            headers.RetryAfter = Math.Ceiling(wait.TotalSeconds).ToString(CultureInfo.InvariantCulture);
        if (error.DpopNonce is { } nonce)
            headers[DpopNonce] = nonce;
        // The server does not read the rest of the body, so the connection cannot be used again.
        if (error.Status is StatusCodes.Status408RequestTimeout or StatusCodes.Status413PayloadTooLarge)
            headers.Connection = "close";

        return WriteAsync(http, error.Status, new ErrorResponse(error.Code, error.Description, ErrorPages.AddressOf(issuer, error.Code)));
    }

    private static async Task WriteAsync(HttpContext http, int status, IAnswer answer)
    {
        var response = http.Response;
        response.StatusCode = status;
        response.ContentType = answer.ContentType;
        // RFC 6749 §5.1 requires both headers on a response with a token. This server sends them on every response.
        response.Headers.CacheControl = "no-store";
        response.Headers.Pragma = "no-cache";
        // The same id is in the request's event. A token needs none, because the event has its jti.
        if (answer is not TokenResponse)
            response.Headers[HeaderNames.RequestId] = http.TraceIdentifier;

        WriteBody(response, answer, isWanted: !HttpMethods.IsHead(http.Request.Method));
        await response.BodyWriter.FlushAsync(http.RequestAborted);
    }

    private static void WriteBody(HttpResponse response, IAnswer answer, bool isWanted)
    {
        var body = answer.ToUtf8();
        response.ContentLength = body.Length;
        if (isWanted)
            response.BodyWriter.Write(body);
    }
}

/// <summary>RFC 6749 §5.2.</summary>
internal sealed record ErrorResponse(string Error, string ErrorDescription, string ErrorUri) : JsonAnswer
{
    public override void WriteTo(Utf8JsonWriter json)
    {
        json.WriteStartObject();
        json.WriteString("error"u8, Error);
        json.WriteString("error_description"u8, ErrorDescription);
        json.WriteString("error_uri"u8, ErrorUri);
        json.WriteEndObject();
    }
}
