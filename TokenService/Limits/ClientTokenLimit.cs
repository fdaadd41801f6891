using TokenService.Clients;
using TokenService.Protocol;

namespace TokenService.Limits;

/// <summary>Holds clients to their tokens per minute, where they have such a ceiling: each replica by itself.</summary>
internal sealed class ClientTokenLimit(TimeProvider clock)
{
    private readonly RateLimiter<(string ClientId, int PerMinute)> limiter = new(clock);

    /// <returns>Why the client gets no token now; null: it does.</returns>
    public OAuthError? Refuse(Client client) =>
        client.TokensPerMinute is { } most && !limiter.TryTake((client.Id, most), Rate.PerMinute(most), out var wait)
            ? OAuthError.TooManyTokens($"more than {most} tokens a minute", wait)
            : null;
}
