using FsCheck;
using FsCheck.Fluent;
using TokenService.Limits;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Limits;

/// <summary>A key may take a burst at once and one more with each interval, for every history of attempts.</summary>
[TestFixture]
public sealed class RateLimits
{
    private static readonly TimeSpan Tick = TimeSpan.FromTicks(1);

    /// <param name="Pause">Ticks before the attempt.</param>
    /// <param name="Key">The key that attempts.</param>
    private sealed record Attempt(int Pause, int Key);

    private static readonly Gen<(Rate Rate, Attempt[] Attempts)> Histories =
        from burst in Gen.Choose(1, 8)
        from interval in Gen.Choose(1, 50)
        from attempts in (
            from pause in Gen.OneOf(Gen.Constant(0), Gen.Choose(1, 20), Gen.Choose(21, 500))
            from key in Gen.Choose(1, 2)
            select new Attempt(pause, key)).ArrayOf()
        select (new Rate(burst, TimeSpan.FromTicks(interval)), attempts);

    [Test]
    public void A_key_gets_no_more_and_no_less_than_the_rate_in_any_span_of_time() => Check((rate, attempts) =>
    {
        var clock = new FakeClock();
        var limiter = new RateLimiter<int>(clock);
        var taken = new List<(int Key, long At)>();
        foreach (var attempt in attempts)
        {
            clock.Advance(TimeSpan.FromTicks(attempt.Pause));
            var now = clock.GetTimestamp();
            if (limiter.TryTake(attempt.Key, rate, out _))
                taken.Add((attempt.Key, now));
            // A refusal is right only when the rate is used up since some earlier attempt that was granted.
            else if (taken.Where(one => one.Key == attempt.Key).ToList() is var own && !own.Where(
                (one, i) => own.Count - i >= rate.Burst + ((now - one.At) / rate.Interval.Ticks)).Any())
                return false;
        }

        return taken.GroupBy(one => one.Key).All(own => own.Select((one, i) => (one.At, i)).All(
            from => own.Skip(from.i).Select((one, n) => (one.At, Count: n + 1)).All(
                to => to.Count <= rate.Burst + ((to.At - from.At) / rate.Interval.Ticks))));
    });

    [Test]
    public void The_reported_wait_is_exact() => Check((rate, attempts) =>
    {
        var clock = new FakeClock();
        var limiter = new RateLimiter<int>(clock);
        foreach (var attempt in attempts)
        {
            clock.Advance(TimeSpan.FromTicks(attempt.Pause));
            var isTaken = limiter.TryTake(attempt.Key, rate, out var wait);
            if (isTaken != (wait == TimeSpan.Zero))
                return false;
            if (isTaken)
                continue;

            clock.Advance(wait - Tick);
            if (limiter.TryTake(attempt.Key, rate, out var left) || left != Tick)
                return false;
            clock.Advance(Tick);
            if (!limiter.TryTake(attempt.Key, rate, out _))
                return false;
        }

        return true;
    });

    [Test]
    public void Many_threads_together_take_no_more_than_the_burst()
    {
        var limiter = new RateLimiter<string>(new FakeClock());
        var taken = 0;
        Parallel.For(0, 10_000, _ =>
        {
            if (limiter.TryTake("one", new Rate(1000, TimeSpan.FromHours(1)), out var _))
                Interlocked.Increment(ref taken);
        });
        Assert.That(taken, Is.EqualTo(1000));
    }

    [Test]
    public void The_limiter_evicts_keys_with_an_unused_rate_first()
    {
        var clock = new FakeClock();
        var limiter = new RateLimiter<int>(clock);
        var rate = new Rate(1, TimeSpan.FromHours(1));
        Take(0, 20_000);
        clock.Advance(TimeSpan.FromHours(1));
        Take(20_000, 40_000);
        Assert.That(Enumerable.Range(20_000, 40_000).Count(IsRefused), Is.EqualTo(40_000));

        bool IsRefused(int key) => !limiter.TryTake(key, rate, out _);

        void Take(int from, int count)
        {
            for (var key = from; key < from + count; key++)
                limiter.TryTake(key, rate, out _);
        }
    }

    private static void Check(Func<Rate, Attempt[], bool> holds) =>
        Prop.ForAll(Histories.ToArbitrary(), history => holds(history.Rate, history.Attempts)).QuickCheckThrowOnFailure();
}
