using System.Globalization;
using System.Text.Json;
using System.Text.Json.Serialization;
using System.Text.Json.Serialization.Metadata;
using Microsoft.Net.Http.Headers;
using TokenService.Protocol;

namespace TokenService.Endpoints;

/// <summary>The one place that writes the answers of the OAuth endpoints: status, headers, body.</summary>
internal static class OAuthResponse
{
    /// <summary>RFC 6749 §5.2 and RFC 7617 §2: the scheme a client may use, whatever it used. Ids and secrets are UTF-8.</summary>
    private const string Challenge = "Basic realm=\"TokenService\", charset=\"UTF-8\"";

    public static Task GrantAsync<T>(HttpContext http, T answer, JsonTypeInfo<T> type) =>
        WriteAsync(http, StatusCodes.Status200OK, answer, type);

    public static Task RefuseAsync(HttpContext http, OAuthError error)
    {
        var headers = http.Response.Headers;
        if (error.Status == StatusCodes.Status401Unauthorized)
            headers.WWWAuthenticate = Challenge;
        if (error.Status == StatusCodes.Status405MethodNotAllowed)
            headers.Allow = HttpMethods.Post;
        if (error.RetryAfter is { } wait)
            headers.RetryAfter = Math.Ceiling(wait.TotalSeconds).ToString(CultureInfo.InvariantCulture);
        // What is left of a body nobody will read is not waited for.
        if (error.Status is StatusCodes.Status408RequestTimeout or StatusCodes.Status413PayloadTooLarge)
            headers.Connection = "close";

        return WriteAsync(http, error.Status, new ErrorResponse(error.Code, error.Description), OAuthJson.Default.ErrorResponse);
    }

    private static async Task WriteAsync<T>(HttpContext http, int status, T body, JsonTypeInfo<T> type)
    {
        var response = http.Response;
        response.StatusCode = status;
        response.ContentType = "application/json";
        // RFC 6749 §5.1 asks for both where there is a token; here they are on every answer.
        response.Headers.CacheControl = "no-store";
        response.Headers.Pragma = "no-cache";
        // What the operator's log calls this request.
        response.Headers[HeaderNames.RequestId] = http.TraceIdentifier;

        var utf8 = JsonSerializer.SerializeToUtf8Bytes(body, type);
        response.ContentLength = utf8.Length;
        if (!HttpMethods.IsHead(http.Request.Method))
            await response.Body.WriteAsync(utf8, http.RequestAborted);
    }
}

/// <summary>RFC 6749 §5.2.</summary>
internal sealed record ErrorResponse(string Error, string ErrorDescription);

/// <summary>RFC 6749 §5.1. No refresh_token: RFC 6749 §4.4.3.</summary>
internal sealed record TokenResponse(string AccessToken, string TokenType, long ExpiresIn, string Scope)
{
    // A record's own ToString would print the token into any log that is handed one of these.
    public override string ToString() => $"{TokenType} {Scope}";
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(ErrorResponse))]
[JsonSerializable(typeof(TokenResponse))]
[JsonSerializable(typeof(Metadata))]
internal sealed partial class OAuthJson : JsonSerializerContext;
