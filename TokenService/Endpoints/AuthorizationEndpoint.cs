using TokenService.Limits;
using TokenService.Protocol;

namespace TokenService.Endpoints;

/// <summary>
/// <c>/authorize</c>, only where <see cref="MetadataOptions.AdvertiseAuthorizationEndpoint"/> says so: refuses every
/// request. RFC 6749 §4.1.2.1 would send this error to the client's redirect URI. No client has registered one, so nobody
/// is redirected anywhere (RFC 9700 §4.11).
/// </summary>
internal sealed class AuthorizationEndpoint(OAuthResponse responses, DocumentThrottle throttle)
{
    public const string Path = "/authorize";

    public async Task AnswerAsync(HttpContext http)
    {
        await throttle.WaitAsync(http.RequestAborted);
        await responses.RefuseAsync(http, OAuthError.UnsupportedResponseType());
    }
}
