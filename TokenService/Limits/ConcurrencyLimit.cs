using Microsoft.Extensions.Options;
using TokenService.Telemetry;

namespace TokenService.Limits;

/// <summary>Counts the requests that are being answered, and says when there are too many.</summary>
internal sealed class ConcurrencyLimit
{
    private readonly int most;
    private int count;

    public ConcurrencyLimit(IOptions<LimitOptions> options, Metrics metrics)
    {
        most = options.Value.RequestsInFlight;
        metrics.ObserveRequestsInFlight(() => Count);
    }

    /// <summary>How many there are.</summary>
    public int Count => Volatile.Read(ref count);

    /// <returns>False: one too many. Otherwise it must leave.</returns>
    public bool TryEnter()
    {
        if (Interlocked.Increment(ref count) <= most)
            return true;
        Leave();
        return false;
    }

    public void Leave() => Interlocked.Decrement(ref count);
}
