using System.Text.Json;
using TokenService.Limits;
using TokenService.Protocol;
using TokenService.Tokens;
using TokenService.Usage;

namespace TokenService.Endpoints;

/// <summary><c>POST /token</c>: the client credentials grant, RFC 6749 §4.4.</summary>
internal sealed class TokenEndpoint(
    ScopeGrantCache scopeGrants, ClientTokenLimit tokenLimit, AccessTokenIssuer issuer, UsageCounters usage)
{
    public const string Path = "/token";

    public async ValueTask<Result<IAnswer>> GrantAsync(ClientRequest request, CancellationToken ct)
    {
        var (client, requestEvent) = (request.Client, request.Event);

        // 6a. RFC 6749 §4.4.2 and RFC 8707 §2: the grant, and the scope and resource asked for.
        if (!TokenRequest.Read(request.Form).TryGet(out var asked, out var error))
            return error;

        // 6b. RFC 6749 §3.3 and RFC 9068 §3: the scope that is granted, and its resource.
        if (!scopeGrants.Decide(client, asked).TryGet(out var grant, out error))
            return error;

        // 6c. The client's limit of tokens per minute.
        if (!tokenLimit.TryTake(client, out error))
            return error;

        // 6d. RFC 9068 §2: the token.
        if (!(await issuer.IssueAsync(client, grant, ct)).TryGet(out var token, out error))
            return error;
        usage.ScopesUsed(client.Id, grant.Resource.Id, grant.Scope.Values);
        requestEvent.Resource = grant.Resource.Id;
        requestEvent.Scope = grant.Scope.ToString();
        requestEvent.TokenId = token.Id;
        requestEvent.KeyId = token.KeyId;

        // 6e. RFC 6749 §5.1: the response, which always has the granted scope.
        return new TokenResponse(token.Jwt, "Bearer", (long)token.Lifetime.TotalSeconds, grant.Scope.ToString());
    }
}

/// <summary>RFC 6749 §5.1. It has no refresh_token, as RFC 6749 §4.4.3 says.</summary>
/// <param name="AccessToken">The JWT, in ASCII.</param>
/// <param name="TokenType"><c>Bearer</c> (RFC 6750).</param>
/// <param name="ExpiresIn">The lifetime in seconds.</param>
/// <param name="Scope">The granted scope.</param>
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
