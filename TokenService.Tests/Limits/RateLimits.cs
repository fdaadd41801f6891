using FsCheck;
using FsCheck.Fluent;
using TokenService.Limits;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Limits;

/// <summary>So many at once and one more with each interval, whatever the order of events.</summary>
[TestFixture]
public sealed class RateLimits
{
    private static readonly TimeSpan Tick = TimeSpan.FromTicks(1);

    /// <param name="Pause">Ticks before it.</param>
    /// <param name="Key">Whose.</param>
    private sealed record Attempt(int Pause, int Key);

    private static readonly Gen<(Rate Rate, Attempt[] Attempts)> Histories =
        from atOnce in Gen.Choose(1, 8)
        from interval in Gen.Choose(1, 50)
        from attempts in (
            from pause in Gen.OneOf(Gen.Constant(0), Gen.Choose(1, 20), Gen.Choose(21, 500))
            from key in Gen.Choose(1, 2)
            select new Attempt(pause, key)).ArrayOf()
        select (new Rate(atOnce, TimeSpan.FromTicks(interval)), attempts);

    [Test]
    public void Nobody_has_more_than_the_rate_in_any_span_of_time() => Check((rate, attempts) =>
    {
        var clock = new FakeClock();
        var allowances = new RateLimiter<int>(clock);
        var taken = new List<(int Key, long At)>();
        foreach (var attempt in attempts)
        {
            clock.Advance(TimeSpan.FromTicks(attempt.Pause));
            var now = clock.GetTimestamp();
            if (allowances.TryTake(attempt.Key, rate, out _))
                taken.Add((attempt.Key, now));
            // Nor less: what the rate allows since each earlier one is given.
            else if (taken.Where(one => one.Key == attempt.Key).ToList() is var own && !own.Where(
                (one, i) => own.Count - i >= rate.Burst + ((now - one.At) / rate.Interval.Ticks)).Any())
                return false;
        }

        return taken.GroupBy(one => one.Key).All(own => own.Select((one, i) => (one.At, i)).All(
            from => own.Skip(from.i).Select((one, n) => (one.At, Count: n + 1)).All(
                to => to.Count <= rate.Burst + ((to.At - from.At) / rate.Interval.Ticks))));
    });

    [Test]
    public void The_time_to_wait_is_told_truly() => Check((rate, attempts) =>
    {
        var clock = new FakeClock();
        var allowances = new RateLimiter<int>(clock);
        foreach (var attempt in attempts)
        {
            clock.Advance(TimeSpan.FromTicks(attempt.Pause));
            var foretold = allowances.WaitFor(attempt.Key, rate);
            var isTaken = allowances.TryTake(attempt.Key, rate, out var wait);
            if (wait != foretold || isTaken != (wait == TimeSpan.Zero))
                return false;
            if (isTaken)
                continue;

            clock.Advance(wait - Tick);
            if (allowances.TryTake(attempt.Key, rate, out var left) || left != Tick)
                return false;
            clock.Advance(Tick);
            if (!allowances.TryTake(attempt.Key, rate, out _))
                return false;
        }

        return true;
    });

    [Test]
    public void At_once_from_many_threads_no_more_are_taken()
    {
        var allowances = new RateLimiter<string>(new FakeClock());
        var taken = 0;
        Parallel.For(0, 10_000, _ =>
        {
            if (allowances.TryTake("one", new Rate(1000, TimeSpan.FromHours(1)), out var _))
                Interlocked.Increment(ref taken);
        });
        Assert.That(taken, Is.EqualTo(1000));
    }

    [Test]
    public void Many_keys_are_forgotten_first_those_that_owe_nothing()
    {
        var clock = new FakeClock();
        var allowances = new RateLimiter<int>(clock);
        var rate = new Rate(1, TimeSpan.FromHours(1));
        Take(0, 20_000);
        clock.Advance(TimeSpan.FromHours(1));
        Take(20_000, 40_000);
        Assert.That(Enumerable.Range(20_000, 40_000).Count(IsRefused), Is.EqualTo(40_000));

        // Where that is not enough any are, so that memory has an end.
        Take(60_000, 10_000);
        Assert.That(Enumerable.Range(20_000, 50_000).Count(IsRefused), Is.InRange(40_000, 50_000));

        bool IsRefused(int key) => allowances.WaitFor(key, rate) > TimeSpan.Zero;

        void Take(int from, int count)
        {
            for (var key = from; key < from + count; key++)
                allowances.TryTake(key, rate, out _);
        }
    }

    private static void Check(Func<Rate, Attempt[], bool> holds) =>
        Prop.ForAll(Histories.ToArbitrary(), history => holds(history.Rate, history.Attempts)).QuickCheckThrowOnFailure();
}
