using System.Diagnostics.CodeAnalysis;
using TokenService.Clients;
using TokenService.Protocol;

namespace TokenService.Limits;

/// <summary>Holds a client to its tokens per minute, if it has such a limit. Each replica counts for itself.</summary>
internal sealed class ClientTokenLimit(TimeProvider clock)
{
    private readonly RateLimiter<(string ClientId, int PerMinute)> limiter = new(clock);

    /// <summary>Takes one token off the client's limit. False: the client gets none now, for the reason that the error says.</summary>
    public bool TryTake(Client client, [NotNullWhen(false)] out OAuthError? error)
    {
        error = client.TokensPerMinute is { } max && !limiter.TryTake((client.Id, max), Rate.PerMinute(max), out var wait)
            ? OAuthError.TooManyTokens(wait, $"more than {max} a minute")
            : null;
        return error is null;
    }
}
