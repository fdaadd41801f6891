using TokenService.Limits;
using TokenService.Protocol;
using TokenService.Tokens;
using TokenService.Usage;

namespace TokenService.Endpoints;

/// <summary><c>POST /token</c>: the client credentials grant, RFC 6749 §4.4.</summary>
internal sealed class TokenEndpoint(ClientRequestPipeline endpoint, ScopeGrantCache scopeGrants, ClientTokenLimit ceilings, AccessTokenIssuer issuer, UsageCounters uses)
{
    public const string Path = "/token";

    public Task AnswerAsync(HttpContext http) => endpoint.AnswerAsync(http, Path, GrantAsync);

    private async ValueTask<Result<IAnswer>> GrantAsync(ClientRequest request, CancellationToken ct)
    {
        // 1. RFC 6749 §4.4.2 and RFC 8707 §2: the grant, and the scope and resource asked for.
        if (TokenRequest.Read(request.Form).Refused(out var error, out var asked))
            return error;

        // 2. RFC 6749 §3.3 and RFC 9068 §3: what the client may have of it, and where.
        if (scopeGrants.Decide(request.Client, asked).Refused(out error, out var grant))
            return error;

        // 3. No more tokens than the client may have.
        if (ceilings.Refuse(request.Client) is { } tooMany)
            return tooMany;

        // 4. RFC 9068 §2: the token.
        if ((await issuer.IssueAsync(request.Client, grant, ct)).Refused(out error, out var token))
            return error;
        uses.ScopesUsed(request.Client.Id, grant.Scope.Values);
        request.Happened.Resource = grant.Resource.Audience;
        request.Happened.Scope = grant.Scope.ToString();
        request.Happened.TokenId = token.Id;
        request.Happened.KeyId = token.KeyId;

        // 5. RFC 6749 §5.1: the answer, which always says what was granted.
        return new TokenResponse(token.Jwt, "Bearer", (long)token.Lifetime.TotalSeconds, grant.Scope.ToString());
    }
}
