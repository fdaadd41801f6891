namespace TokenService.Tests.Harness;

/// <summary>
/// Time that stands still until a test moves it. Timers fire as it moves, in the order in which they are due.
/// </summary>
internal sealed class FakeClock : TimeProvider
{
    private readonly Lock gate = new();
    private readonly List<FakeTimer> timers = [];
    private DateTimeOffset now;

    /// <summary>
    /// Starts a minute ahead of real time, on a whole second, so that everything that SQL dates <c>now()</c> is in the
    /// past.
    /// </summary>
    /// <param name="offset">How far this clock is ahead of other fake clocks.</param>
    public FakeClock(TimeSpan offset = default) =>
        now = DateTimeOffset.FromUnixTimeSeconds(System.GetUtcNow().ToUnixTimeSeconds() + 60) + offset;

    /// <summary>Starts at a given instant.</summary>
    public FakeClock(DateTimeOffset now) => this.now = now;

    /// <summary>
    /// How many timers wait. A test that reads it can move time when the code under test is asleep, and not before.
    /// </summary>
    public int Timers
    {
        get
        {
            lock (gate)
                return timers.Count;
        }
    }

    public override long TimestampFrequency => TimeSpan.TicksPerSecond;

    public override DateTimeOffset GetUtcNow()
    {
        lock (gate)
            return now;
    }

    public override long GetTimestamp() => GetUtcNow().Ticks;

    public void Advance(TimeSpan time)
    {
        var until = GetUtcNow() + time;
        while (NextDue(until) is { } timer)
            timer.Fire();
        lock (gate)
            now = until;
    }

    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
    {
        var timer = new FakeTimer(this, callback, state);
        timer.Change(dueTime, period);
        return timer;
    }

    private FakeTimer? NextDue(DateTimeOffset until)
    {
        lock (gate)
        {
            var next = timers.Where(timer => timer.Due <= until).MinBy(timer => timer.Due);
            if (next is not null)
                now = next.Due;
            return next;
        }
    }

    private sealed class FakeTimer(FakeClock clock, TimerCallback callback, object? state) : ITimer
    {
        private TimeSpan period;

        public DateTimeOffset Due { get; private set; }

        public bool Change(TimeSpan dueTime, TimeSpan period)
        {
            lock (clock.gate)
            {
                this.period = period;
                clock.timers.Remove(this);
                if (dueTime != Timeout.InfiniteTimeSpan)
                {
                    Due = clock.now + dueTime;
                    clock.timers.Add(this);
                }

                return true;
            }
        }

        public void Fire()
        {
            Change(period > TimeSpan.Zero ? period : Timeout.InfiniteTimeSpan, period);
            callback(state);
        }

        public void Dispose() => Change(Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);

        public ValueTask DisposeAsync()
        {
            Dispose();
            return ValueTask.CompletedTask;
        }
    }
}
