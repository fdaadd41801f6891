using TokenService.Protocol;
using TokenService.Revocation;

namespace TokenService.Endpoints;

/// <summary><c>POST /revoke</c>: this token of mine is dead. RFC 7009.</summary>
internal sealed class RevocationEndpoint(ClientRequestPipeline endpoint, TokenStatus tokens)
{
    public const string Path = "/revoke";

    public Task AnswerAsync(HttpContext http) => endpoint.AnswerAsync(http, Path, RevokeAsync);

    private async ValueTask<Result<IAnswer>> RevokeAsync(ClientRequest request, CancellationToken ct)
    {
        // 1. RFC 7009 §2.1: which token. The hint is of no use here, since there is one kind.
        if (request.Form["token"] is not { } jwt)
            return OAuthError.InvalidRequest("The parameter token is missing.");

        // 2. RFC 7009 §2.1: its own only.
        if ((await tokens.RevokeAsync(jwt, request.Client, ct)).Refused(out var error, out var validation))
            return error;
        request.Happened.Reason = validation.Failure;
        request.Happened.TokenId = validation.Token?.Id;
        request.Happened.TokenClientId = validation.Token?.ClientId;
        request.Happened.Resource = validation.Token?.Audience;

        // 3. RFC 7009 §2.2: the same for a token that was none.
        return new EmptyAnswer();
    }
}
