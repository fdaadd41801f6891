using Microsoft.Extensions.Options;
using TokenService.Telemetry;

namespace TokenService.Limits;

/// <summary>Bounds the requests that are being answered at the same time, from their body having come to their answer being known.</summary>
internal sealed class ConcurrencyLimit
{
    private readonly int max;
    private int count;

    public ConcurrencyLimit(IOptions<LimitOptions> options, Metrics metrics)
    {
        max = options.Value.RequestsInFlight;
        metrics.ObserveRequestsInFlight(() => Count);
    }

    /// <summary>How many requests are in flight.</summary>
    public int Count => Volatile.Read(ref count);

    /// <returns>False: this is one too many. True: the caller has to <see cref="Leave"/>.</returns>
    public bool TryEnter()
    {
        if (Interlocked.Increment(ref count) <= max)
            return true;
        Leave();
        return false;
    }

    public void Leave() => Interlocked.Decrement(ref count);
}
