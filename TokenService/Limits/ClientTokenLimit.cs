using System.Diagnostics.CodeAnalysis;
using TokenService.Clients;
using TokenService.Protocol;

namespace TokenService.Limits;

/// <summary>Limits the tokens per minute of clients that have such a limit. Each replica counts for itself.</summary>
internal sealed class ClientTokenLimit(TimeProvider clock)
{
    private readonly RateLimiter<(string ClientId, int PerMinute)> limiter = new(clock);

    /// <summary>
    /// Counts one token against the client's limit. False: the limit is used up, and the error refuses the request.
    /// </summary>
    public bool TryTake(Client client, [NotNullWhen(false)] out OAuthError? error)
    {
        error = null;
        if (client.TokensPerMinute is not { } max)
            return true;
        // The limit is part of the key, so a client whose limit changes begins with a full burst.
        if (limiter.TryTake((client.Id, max), Rate.PerMinute(max), out var wait))
            return true;
        error = OAuthError.TooManyTokens(wait, $"more than {max} a minute");
        return false;
    }

    /// <summary>Takes back one token that was counted, because the client gets none after all.</summary>
    public void GiveBack(Client client)
    {
        if (client.TokensPerMinute is { } max)
            limiter.GiveBack((client.Id, max), Rate.PerMinute(max));
    }
}
