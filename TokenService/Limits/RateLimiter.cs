using TokenService.Caching;

namespace TokenService.Limits;

/// <param name="Burst">How many are allowed at once; at least 1.</param>
/// <param name="Interval">The time after which one more is allowed.</param>
internal readonly record struct Rate(int Burst, TimeSpan Interval)
{
    public static Rate PerMinute(int count) => new(count, TimeSpan.FromMinutes(1) / count);
}

/// <summary>
/// A rate limit for each of many keys, by the generic cell rate algorithm. It keeps one number for each key: the time
/// at which the key's whole burst is available again. The numbers are in the memory of this replica. (The limiters of
/// System.Threading.RateLimiting take no <see cref="TimeProvider"/>.)
/// </summary>
internal sealed class RateLimiter<TKey>
    where TKey : notnull
{
    // A key takes about 100 bytes, and two for each character of its text.
    private const int MaxKeys = 50_000;

    private readonly TimeProvider clock;
    private readonly long start;

    // In ticks since the start. A key whose whole burst is available again is obsolete: it is like a key that was never
    // used.
    private readonly BoundedMap<TKey, long> wholeAt;

    public RateLimiter(TimeProvider clock)
    {
        (this.clock, start) = (clock, clock.GetTimestamp());
        wholeAt = new(MaxKeys, obsolete: () =>
        {
            var now = Now;
            return at => at <= now;
        });
    }

    private long Now => clock.GetElapsedTime(start).Ticks;

    /// <summary>Takes one, if one is allowed.</summary>
    /// <param name="key">The key that the limit applies to.</param>
    /// <param name="rate">The limit. A key must always be used with the same rate.</param>
    /// <param name="wait">The time until one is allowed; zero: one was taken.</param>
    public bool TryTake(TKey key, Rate rate, out TimeSpan wait)
    {
        while (true)
        {
            var now = Now;
            var isKept = wholeAt.TryGetValue(key, out var at);
            wait = Wait(at, now, rate);
            if (wait > TimeSpan.Zero)
                return false;

            var after = Math.Max(at, now) + rate.Interval.Ticks;
            if (isKept ? wholeAt.TryUpdate(key, after, at) : wholeAt.TryAdd(key, after))
                return true;
        }
    }

    /// <summary>Gives back one that was taken, so that it does not count.</summary>
    public void GiveBack(TKey key, Rate rate)
    {
        while (wholeAt.TryGetValue(key, out var at) && !wholeAt.TryUpdate(key, at - rate.Interval.Ticks, at))
        {
            // Another thread changed the value in between: try again.
        }
    }

    private static TimeSpan Wait(long at, long now, Rate rate) =>
        TimeSpan.FromTicks(Math.Max(0, Math.Max(at, now) + rate.Interval.Ticks - now - (rate.Burst * rate.Interval.Ticks)));
}
