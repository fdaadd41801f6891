using TokenService.Audit;
using TokenService.Tokens;

namespace TokenService.Endpoints;

/// <summary>What the event log says of a token that somebody showed.</summary>
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
