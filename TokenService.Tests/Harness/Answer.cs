using System.Text.Json;
using Microsoft.IdentityModel.JsonWebTokens;
using Microsoft.IdentityModel.Tokens;

namespace TokenService.Tests.Harness;

/// <summary>A whole response of an OAuth endpoint, and what must hold for it.</summary>
internal sealed record Answer(int Status, IReadOnlyDictionary<string, string> Headers, string Body)
{
    /// <summary>The <c>Request-Id</c> of the response; empty where it has none, as a response with a token.</summary>
    public string RequestId { get; init; } = "";

    /// <summary>By which the request's event is found: the Request-Id or, of a grant, the jti of the token.</summary>
    public string EventId => RequestId != "" ? RequestId : Token.Id;

    /// <summary>The one description of every failed authentication.</summary>
    private const string AuthenticationFailed =
        "Client authentication failed. The operator finds the reason under the Request-Id of this answer.";

    // HTTP itself sets these headers, and their values differ each time.
    private static readonly string[] Ignored = ["Date", "Request-Id", "Content-Length"];

    public JsonElement Json => JsonElement.Parse(Body);

    /// <summary>The token of a grant, read but not verified.</summary>
    public JsonWebToken Token => new(Json.GetProperty("access_token").GetString());

    public static async Task<Answer> ReadAsync(HttpResponseMessage response)
    {
        var headers = response.Headers.Concat(response.Content.Headers)
            .Where(header => !Ignored.Contains(header.Key))
            .ToDictionary(header => header.Key, header => string.Join(", ", header.Value), StringComparer.OrdinalIgnoreCase);
        return new Answer((int)response.StatusCode, headers, await response.Content.ReadAsStringAsync())
        {
            RequestId = response.Headers.TryGetValues("Request-Id", out var ids) ? ids.Single() : "",
        };
    }

    /// <summary>Status, headers and body are those of a grant, RFC 6749 §5.1, and nothing else is there.</summary>
    /// <param name="tokenType">Bearer, or DPoP for a token that is bound to a key.</param>
    /// <param name="headers">Headers beside those of every grant.</param>
    public void IsGrant(
        string scope = "invoices:read", int expiresIn = 600, string tokenType = "Bearer", params (string Name, string Value)[] headers)
    {
        using (Assert.EnterMultipleScope())
        {
            Assert.That(Status, Is.EqualTo(200), Body);
            Assert.That(Headers, Is.EquivalentTo(Expected(headers)));
            Assert.That(RequestId, Is.Empty);
            Assert.That(Json.EnumerateObject().Select(member => member.Name),
                Is.EqualTo(["access_token", "token_type", "expires_in", "scope"]));
            Assert.That(Json.GetProperty("access_token").ValueKind, Is.EqualTo(JsonValueKind.String));
            Assert.That(Json.GetProperty("token_type").GetString(), Is.EqualTo(tokenType));
            Assert.That(Json.GetProperty("expires_in").GetRawText(), Is.EqualTo($"{expiresIn}"));
            Assert.That(Json.GetProperty("scope").GetString(), Is.EqualTo(scope));
        }
    }

    /// <summary>Status, headers and body are those of an error, RFC 6749 §5.2, and nothing else is there.</summary>
    public void IsError(int status, string code, string description, params (string Name, string Value)[] headers)
    {
        using (Assert.EnterMultipleScope())
        {
            Assert.That(Status, Is.EqualTo(status), Body);
            Assert.That(Headers, Is.EquivalentTo(Expected(headers)));
            Assert.That(RequestId, Is.Not.Empty);
            // The issuer differs from server to server.
            Assert.That(Body, Does.StartWith($$"""{"error":"{{code}}","error_description":"{{description}}","error_uri":"http""")
                .And.Match($$"""[^"]"error_uri":"https?://[^"]+/errors/{{code}}"}$"""));
        }
    }

    /// <summary>
    /// Status, headers and body are those for an active token, RFC 7662 §2.2: the body has exactly the token's claims.
    /// </summary>
    public void IsActive(string token, string tokenType = "Bearer")
    {
        var payload = Base64UrlEncoder.Decode(token.Split('.')[1]);
        IsDone($$"""{"active":true,"token_type":"{{tokenType}}",{{payload[1..]}}""");
    }

    /// <summary>Status, headers and body are those for every other token, RFC 7662 §2.2.</summary>
    public void IsInactive() => IsDone("""{"active":false}""");

    /// <summary>Status, headers and body are those of a successful request, and nothing else is there.</summary>
    /// <param name="body">Compared character by character.</param>
    /// <param name="contentType">Null for an answer without a body.</param>
    public void IsDone(string body = "", string? contentType = "application/json")
    {
        using (Assert.EnterMultipleScope())
        {
            Assert.That(Status, Is.EqualTo(200), Body);
            Assert.That(Headers, Is.EquivalentTo(Expected(contentType)));
            Assert.That(RequestId, Is.Not.Empty);
            Assert.That(Body, Is.EqualTo(body));
        }
    }

    /// <summary>The one answer to every failed authentication.</summary>
    public void IsInvalidClient() =>
        IsError(401, "invalid_client", AuthenticationFailed, ("WWW-Authenticate", "Basic realm=\"TokenService\", charset=\"UTF-8\""));

    private static Dictionary<string, string> Expected(params (string Name, string Value)[] more) => Expected("application/json", more);

    private static Dictionary<string, string> Expected(string? contentType, params (string Name, string Value)[] more)
    {
        var expected = new Dictionary<string, string>
        {
            ["Cache-Control"] = "no-store",
            ["Pragma"] = "no-cache",
            ["X-Content-Type-Options"] = "nosniff",
        };
        if (contentType is not null)
            expected["Content-Type"] = contentType;
        foreach (var (name, value) in more)
            expected[name] = value;
        return expected;
    }
}
