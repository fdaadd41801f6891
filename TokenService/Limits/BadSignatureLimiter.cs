using System.Net;
using Microsoft.Extensions.Options;
using TokenService.Caching;

namespace TokenService.Limits;

/// <summary>
/// Counts assertions whose signature is wrong, for each client and source. Nobody can guess a signature, so the count only
/// keeps one source from using up the processor: a verification costs about a tenth of a millisecond. A source from which
/// the client has authenticated lately is not limited, and neither are other sources, so nobody can lock a client out.
/// </summary>
internal sealed class BadSignatureLimiter
{
    private const int MaxProved = 50_000; // about 150 bytes each

    private static readonly TimeSpan Lately = TimeSpan.FromMinutes(10);

    private readonly TimeProvider clock;
    private readonly Rate rate;
    private readonly RateLimiter<(string ClientId, IPAddress Network)> failures;

    // When each client last authenticated from each source.
    private readonly BoundedMap<(string ClientId, IPAddress Network), long> proved;

    public BadSignatureLimiter(IOptions<LimitOptions> options, TimeProvider clock)
    {
        (this.clock, rate, failures) = (clock, Rate.PerMinute(options.Value.FailuresPerClient), new(clock));
        proved = new(MaxProved, obsolete: () => at => !IsLately(at));
    }

    /// <summary>True when an assertion is refused before its signature is verified.</summary>
    /// <param name="clientId">The client that the assertion names. It exists.</param>
    /// <param name="source">The caller's address; null: unknown.</param>
    /// <param name="wait">The time until the next one is verified.</param>
    public bool IsRefused(string clientId, IPAddress? source, out TimeSpan wait)
    {
        var key = Key(clientId, source);
        return !failures.IsAvailable(key, rate, out wait) && !(proved.TryGetValue(key, out var at) && IsLately(at));
    }

    public void Failed(string clientId, IPAddress? source) => failures.TryTake(Key(clientId, source), rate, out _);

    public void Succeeded(string clientId, IPAddress? source) => proved.Set(Key(clientId, source), clock.GetTimestamp());

    private bool IsLately(long at) => clock.GetElapsedTime(at) < Lately;

    private static (string, IPAddress) Key(string clientId, IPAddress? source) =>
        (clientId, FailedAttemptLimiter.Network(source ?? IPAddress.None));
}
