using System.Buffers;
using System.Globalization;
using System.Text.Json;
using Microsoft.Net.Http.Headers;
using TokenService.Jose;
using TokenService.Protocol;
using TokenService.Tokens;

namespace TokenService.Endpoints;

/// <summary>The one place that writes the answers of the OAuth endpoints: status, headers, body.</summary>
internal static class OAuthResponse
{
    /// <summary>RFC 6749 §5.2 and RFC 7617 §2: the scheme a client may use, whatever it used. Ids and secrets are UTF-8.</summary>
    private const string Challenge = "Basic realm=\"TokenService\", charset=\"UTF-8\"";

    public static Task GrantAsync(HttpContext http, IAnswer answer) => WriteAsync(http, StatusCodes.Status200OK, answer);

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

        return WriteAsync(http, error.Status, new ErrorResponse(error.Code, error.Description));
    }

    private static async Task WriteAsync(HttpContext http, int status, IAnswer answer)
    {
        var response = http.Response;
        response.StatusCode = status;
        response.ContentType = answer.ContentType;
        // RFC 6749 §5.1 asks for both where there is a token; here they are on every answer.
        response.Headers.CacheControl = "no-store";
        response.Headers.Pragma = "no-cache";
        // What the operator's log calls this request.
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

/// <summary>What an endpoint answers a request with that is not refused.</summary>
internal interface IAnswer
{
    /// <summary>Null: there is no body.</summary>
    public string? ContentType { get; }

    /// <summary>The body. To be used at once and not kept.</summary>
    public ReadOnlySpan<byte> ToUtf8();
}

/// <summary>A JSON object.</summary>
internal abstract record JsonAnswer : IAnswer
{
    public string ContentType => "application/json";

    public ReadOnlySpan<byte> ToUtf8() => Utf8Json.Write(this, static (answer, json) => answer.WriteTo(json));

    public abstract void WriteTo(Utf8JsonWriter json);
}

/// <summary>A JWT.</summary>
/// <param name="Jwt">In ASCII.</param>
/// <param name="Type">Its typ.</param>
internal sealed record JwtAnswer(byte[] Jwt, string Type) : IAnswer
{
    public string ContentType => "application/" + Type;

    public ReadOnlySpan<byte> ToUtf8() => Jwt;
}

/// <summary>Nothing more than that it is done.</summary>
internal sealed record EmptyAnswer : IAnswer
{
    public string? ContentType => null;

    public ReadOnlySpan<byte> ToUtf8() => [];
}

/// <summary>RFC 6749 §5.2.</summary>
internal sealed record ErrorResponse(string Error, string ErrorDescription) : JsonAnswer
{
    public override void WriteTo(Utf8JsonWriter json)
    {
        json.WriteStartObject();
        json.WriteString("error"u8, Error);
        json.WriteString("error_description"u8, ErrorDescription);
        json.WriteEndObject();
    }
}

/// <summary>RFC 6749 §5.1. No refresh_token: RFC 6749 §4.4.3.</summary>
internal sealed record TokenResponse(byte[] AccessToken, string TokenType, long ExpiresIn, string Scope) : JsonAnswer
{
    public override void WriteTo(Utf8JsonWriter json)
    {
        json.WriteStartObject();
        json.WriteString("access_token"u8, AccessToken);
        json.WriteString("token_type"u8, TokenType);
        json.WriteNumber("expires_in"u8, ExpiresIn);
        json.WriteString("scope"u8, Scope);
        json.WriteEndObject();
    }

    // A record's own ToString would print the token into any log that is handed one of these.
    public override string ToString() => $"{TokenType} {Scope}";
}

/// <summary>RFC 7662 §2.2: what a token is worth, to the API that asks.</summary>
/// <param name="Token">Null: nothing, and no more is said.</param>
internal sealed record IntrospectionResponse(ValidatedToken? Token) : JsonAnswer
{
    public override void WriteTo(Utf8JsonWriter json)
    {
        json.WriteStartObject();
        json.WriteBoolean("active"u8, Token is not null);
        if (Token is not null)
        {
            json.WriteString("token_type"u8, "Bearer"u8);
            foreach (var claim in Token.Claims.EnumerateObject())
            {
                // A client's extra claim may have a name that only means something here.
                if (claim.Name is not ("active" or "token_type"))
                    claim.WriteTo(json);
            }
        }

        json.WriteEndObject();
    }
}
