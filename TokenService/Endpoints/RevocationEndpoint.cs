using TokenService.Authentication;
using TokenService.Protocol;
using TokenService.Revocation;

namespace TokenService.Endpoints;

/// <summary><c>POST /revoke</c>: a client revokes one of its own tokens. RFC 7009.</summary>
internal sealed class RevocationEndpoint(TokenStatus tokens, ClientAuthenticator authenticator)
{
    public const string Path = "/revoke";

    public async ValueTask<Result<IAnswer>> RevokeAsync(ClientRequest request, CancellationToken ct)
    {
        // 6a. RFC 7009 §2.1: the token. A token_type_hint is ignored, since there is one kind of token.
        if (request.Form["token"] is not { } jwt)
            return OAuthError.ParameterMissing("token");

        // 6b. RFC 7523 §3: an assertion works once. It is used up before the token is revoked.
        if (await authenticator.UseUpAsync(request.Caller, request.Event, ct) is { } refusal)
            return refusal;

        // 6c. RFC 7009 §2.1: a client can revoke only its own tokens.
        if (!(await tokens.RevokeAsync(jwt, request.Client, ct)).TryGet(out var validation, out var error))
            return error;
        request.Event.SetToken(validation);

        // 6d. RFC 7009 §2.2: the response is the same if the token is invalid or belongs to another client.
        return new EmptyAnswer();
    }
}
