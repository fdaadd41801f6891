using TokenService.Audit;
using TokenService.Tokens;

namespace TokenService.Endpoints;

/// <summary>Adds a presented token, and why it is not valid, to the event of the request.</summary>
internal static class TokenEvent
{
    public static void SetToken(this RequestEvent requestEvent, TokenValidation validation)
    {
        requestEvent.Reason = validation.Failure;
        requestEvent.TokenId = validation.Token?.Id;
        requestEvent.TokenClientId = validation.Token?.ClientId;
        requestEvent.Resource = validation.Token?.Audience;
    }
}
