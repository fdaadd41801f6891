using Microsoft.Extensions.Options;

namespace TokenService.Limits;

/// <summary>Counts the requests that are being answered, and says when there are too many.</summary>
internal sealed class RequestsInFlight(IOptions<LimitOptions> options)
{
    private readonly int most = options.Value.RequestsInFlight;
    private int count;

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
