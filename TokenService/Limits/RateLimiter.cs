using TokenService.Caching;

namespace TokenService.Limits;

/// <summary>A burst, and one more with each interval.</summary>
/// <param name="Burst">How many at once; at least 1.</param>
/// <param name="Interval">How long until one more.</param>
internal readonly record struct Rate(int Burst, TimeSpan Interval)
{
    public static Rate PerMinute(int count) => new(count, TimeSpan.FromMinutes(1) / count);
}

/// <summary>
/// A rate limit for each of many keys, by the generic cell rate algorithm: a key has one number, the time at which its burst is whole
/// again. In memory, for this replica alone. (The limiters of System.Threading.RateLimiting take no <see cref="TimeProvider"/>.)
/// </summary>
internal sealed class RateLimiter<TKey>
    where TKey : notnull
{
    // About 100 bytes each.
    private const int MaxKeys = 50_000;

    private readonly TimeProvider clock;
    private readonly long start;

    // In ticks since the start. A key whose burst is whole again means nothing.
    private readonly BoundedMap<TKey, long> wholeAt;

    public RateLimiter(TimeProvider clock)
    {
        (this.clock, start) = (clock, clock.GetTimestamp());
        wholeAt = new(MaxKeys, isObsolete: at => at <= Now);
    }

    private long Now => clock.GetElapsedTime(start).Ticks;

    /// <summary>How long until one is allowed; zero: one is.</summary>
    public TimeSpan WaitFor(TKey key, Rate rate) => Wait(wholeAt.TryGetValue(key, out var at) ? at : 0, Now, rate);

    /// <summary>Takes one, if one is allowed.</summary>
    /// <param name="key">The key whose burst it is.</param>
    /// <param name="rate">The limit.</param>
    /// <param name="wait">How long until one is allowed.</param>
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

    /// <summary>Gives back one that was taken and does not count after all.</summary>
    public void GiveBack(TKey key, Rate rate)
    {
        while (wholeAt.TryGetValue(key, out var at) && !wholeAt.TryUpdate(key, at - rate.Interval.Ticks, at))
        {
            // Another thread changed it in between.
        }
    }

    private static TimeSpan Wait(long at, long now, Rate rate) =>
        TimeSpan.FromTicks(Math.Max(0, Math.Max(at, now) + rate.Interval.Ticks - now - (rate.Burst * rate.Interval.Ticks)));
}
