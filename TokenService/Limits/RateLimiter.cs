using System.Collections.Concurrent;

namespace TokenService.Limits;

/// <summary>So many at once, and one more with each interval.</summary>
/// <param name="AtOnce">How many at once; at least 1.</param>
/// <param name="Interval">Until one more.</param>
internal readonly record struct Rate(int AtOnce, TimeSpan Interval)
{
    public static Rate PerMinute(int count) => new(count, TimeSpan.FromMinutes(1) / count);
}

/// <summary>
/// An allowance for each of many, by the generic cell rate algorithm: of each key one number is kept, the time at which its allowance is
/// whole again. In memory, for this replica alone. (The limiters of System.Threading.RateLimiting take no <see cref="TimeProvider"/>.)
/// </summary>
internal sealed class RateLimiter<TKey>(TimeProvider clock)
    where TKey : notnull
{
    // About 100 bytes each.
    private const int MaxKeys = 50_000;

    private readonly long start = clock.GetTimestamp();
    private readonly ConcurrentDictionary<TKey, long> wholeAt = new();

    private long Now => clock.GetElapsedTime(start).Ticks;

    /// <summary>How long until one is allowed; zero: one is.</summary>
    public TimeSpan WaitFor(TKey key, Rate rate) => Wait(wholeAt.GetValueOrDefault(key), Now, rate);

    /// <summary>Takes one, if one is allowed.</summary>
    /// <param name="key">Whose allowance.</param>
    /// <param name="rate">What it is.</param>
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
            if (isKept ? wholeAt.TryUpdate(key, after, at) : TryAdd(key, after, now))
                return true;
        }
    }

    /// <summary>Gives back one that was taken and turned out not to count.</summary>
    public void GiveBack(TKey key, Rate rate)
    {
        while (wholeAt.TryGetValue(key, out var at) && !wholeAt.TryUpdate(key, at - rate.Interval.Ticks, at))
        {
            // Somebody else was quicker.
        }
    }

    private static TimeSpan Wait(long at, long now, Rate rate) =>
        TimeSpan.FromTicks(Math.Max(0, Math.Max(at, now) + rate.Interval.Ticks - now - (rate.AtOnce * rate.Interval.Ticks)));

    private bool TryAdd(TKey key, long after, long now)
    {
        if (wholeAt.Count >= MaxKeys)
            MakeRoom(now);
        return wholeAt.TryAdd(key, after);
    }

    // First those that are whole again, which mean nothing; where that is not enough, any.
    private void MakeRoom(long now)
    {
        foreach (var entry in wholeAt)
        {
            if (entry.Value <= now)
                wholeAt.TryRemove(entry);
        }

        foreach (var entry in wholeAt.Take(Math.Max(0, wholeAt.Count - (MaxKeys * 7 / 8))))
            wholeAt.TryRemove(entry);
    }
}
