using Microsoft.Extensions.Options;
using TokenService.Telemetry;

namespace TokenService.Limits;

/// <summary>
/// Limits the requests in flight. A request is in flight from the time its body has arrived until its answer is known.
/// </summary>
internal sealed class ConcurrencyLimit
{
    private readonly int max;
    private int count;

    public ConcurrencyLimit(IOptions<LimitOptions> options, Metrics metrics)
    {
        max = options.Value.RequestsInFlight;
        metrics.ObserveRequestsInFlight(() => Count);
    }

    public int Count => Volatile.Read(ref count);

    /// <returns>True: the caller must call <see cref="Leave"/> later. False: too many requests are in flight.</returns>
    public bool TryEnter()
    {
        if (Interlocked.Increment(ref count) <= max)
            return true;
        Leave();
        return false;
    }

    public void Leave() => Interlocked.Decrement(ref count);
}
