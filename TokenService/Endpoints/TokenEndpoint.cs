using TokenService.Clients;
using TokenService.Protocol;
using TokenService.Tokens;

namespace TokenService.Endpoints;

/// <summary><c>POST /token</c>: the client credentials grant, RFC 6749 §4.4.</summary>
internal sealed partial class TokenEndpoint(FormEndpoint endpoint, TokenIssuer issuer, UseTally uses, ILogger<TokenEndpoint> logger)
{
    public const string Path = "/token";

    public Task AnswerAsync(HttpContext http) => endpoint.AnswerAsync(http, OAuthJson.Default.TokenResponse, GrantAsync);

    private async ValueTask<Result<TokenResponse>> GrantAsync(HttpContext http, Client client, Form form)
    {
        // 1. RFC 6749 §4.4.2: the grant and the scope asked for.
        if (TokenRequest.Read(form).Refused(out var error, out var request))
            return error;

        // 2. RFC 6749 §3.3 and RFC 9068 §3: what the client may have of it, and where.
        if (Entitlement.Decide(client, request.Scope).Refused(out error, out var entitlement))
            return error with { Reason = $"{client.Id}: {error.Description}" };

        // 3. RFC 9068 §2: the token.
        if ((await issuer.IssueAsync(client, entitlement, http.RequestAborted)).Refused(out error, out var token))
            return error;
        uses.ScopesUsed(client.Id, entitlement.Scope.Values);
        Log.Issued(logger, http.TraceIdentifier, token.Id, client.Id, entitlement.Audience, entitlement.Scope, token.KeyId);

        // 4. RFC 6749 §5.1: the answer, which always says what was granted.
        return new TokenResponse(token.Jwt, "Bearer", (long)token.Lifetime.TotalSeconds, entitlement.Scope.ToString());
    }

    private static partial class Log
    {
        [LoggerMessage(1, LogLevel.Information, "{RequestId} issued {Jti} to {ClientId} for {Audience}: {Scope}, signed by {Kid}")]
        public static partial void Issued(
            ILogger logger, string requestId, string jti, string clientId, string audience, ScopeSet scope, string kid);
    }
}
