using System.Text;
using TokenService.Proofs;

namespace TokenService.Tests.Harness;

/// <summary>A valid token request (RFC 6749 §4.4.2), which a test spoils in one place.</summary>
internal sealed class TokenRequestBuilder
{
    private readonly List<(string Name, string Value)> parameters = [("grant_type", "client_credentials")];
    private readonly List<string> authorization = [];
    private HttpMethod method = HttpMethod.Post;
    private string path = "/token";
    private byte[]? body;
    private string? contentType = "application/x-www-form-urlencoded";
    private readonly List<(string Name, string Value)> headers = [];

    /// <summary>Authenticated by HTTP Basic, each part form-encoded as RFC 6749 §2.3.1 has it.</summary>
    public static TokenRequestBuilder For(TestClient client) => new TokenRequestBuilder().WithBasic(client.Id, client.Secret);

    /// <summary>Authenticated in the body.</summary>
    public static TokenRequestBuilder ByPost(TestClient client) =>
        Anonymous().With("client_id", client.Id).With("client_secret", client.Secret);

    public static TokenRequestBuilder Anonymous() => new();

    /// <summary>Authenticated by an assertion (RFC 7523 §2.2).</summary>
    public static TokenRequestBuilder ByAssertion(string jwt) =>
        Anonymous().With("client_assertion_type", ClientAssertion.ParameterType).With("client_assertion", jwt);

    /// <summary>An introspection request (RFC 7662 §2.1), authenticated by HTTP Basic.</summary>
    public static TokenRequestBuilder Introspect(TestClient api, string token) => For(api).About(token, "/introspect");

    /// <summary>A revocation request (RFC 7009 §2.1), authenticated by HTTP Basic.</summary>
    public static TokenRequestBuilder Revoke(TestClient client, string token) => For(client).About(token, "/revoke");

    /// <summary>Sends a token, instead of a grant, to an endpoint that takes one.</summary>
    public TokenRequestBuilder About(string token, string path) => WithPath(path).Without("grant_type").With("token", token);

    public TokenRequestBuilder WithBasic(string id, string secret) =>
        WithAuthorization("Basic " + Base64($"{Encode(id)}:{Encode(secret)}"));

    /// <summary>Adds one more Authorization header, unchanged.</summary>
    public TokenRequestBuilder WithAuthorization(string value)
    {
        authorization.Add(value);
        return this;
    }

    /// <summary>Adds a parameter, even if there is one of that name.</summary>
    public TokenRequestBuilder With(string name, string value)
    {
        parameters.Add((name, value));
        return this;
    }

    public TokenRequestBuilder WithScope(string scope) => With("scope", scope);

    public TokenRequestBuilder Without(string name)
    {
        parameters.RemoveAll(parameter => parameter.Name == name);
        return this;
    }

    public TokenRequestBuilder WithMethod(HttpMethod method)
    {
        this.method = method;
        return this;
    }

    public TokenRequestBuilder WithPath(string path)
    {
        this.path = path;
        return this;
    }

    public TokenRequestBuilder WithHeader(string name, string value)
    {
        headers.Add((name, value));
        return this;
    }

    /// <summary>Replaces the parameters by this body, unchanged.</summary>
    public TokenRequestBuilder WithBody(string body) => WithBody(Encoding.UTF8.GetBytes(body));

    public TokenRequestBuilder WithBody(byte[] body)
    {
        this.body = body;
        return this;
    }

    public TokenRequestBuilder WithContentType(string? contentType)
    {
        this.contentType = contentType;
        return this;
    }

    public Task<Answer> SendAsync(TestServer server) => SendAsync(server.Client);

    public async Task<Answer> SendAsync(HttpClient client)
    {
        using var request = new HttpRequestMessage(method, path);
        foreach (var value in authorization)
            request.Headers.TryAddWithoutValidation("Authorization", value);
        foreach (var (name, value) in headers)
            request.Headers.TryAddWithoutValidation(name, value);
        if (method != HttpMethod.Get && method != HttpMethod.Head)
        {
            request.Content = new ByteArrayContent(body ?? Encoding.ASCII.GetBytes(Encoded));
            if (contentType is not null)
                request.Content.Headers.TryAddWithoutValidation("Content-Type", contentType);
        }

        using var response = await client.SendAsync(request);
        return await Answer.ReadAsync(response);
    }

    public static string Base64(string text) => Convert.ToBase64String(Encoding.UTF8.GetBytes(text));

    // RFC 6749 appendix B: a careful client encodes a value this way.
    private static string Encode(string value) => Uri.EscapeDataString(value).Replace("%20", "+", StringComparison.Ordinal);

    private string Encoded => string.Join('&', parameters.Select(p => $"{Encode(p.Name)}={Encode(p.Value)}"));
}
