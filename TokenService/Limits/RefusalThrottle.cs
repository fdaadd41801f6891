using Microsoft.Extensions.Options;

namespace TokenService.Limits;

/// <summary>
/// Throttles the refusals that are sent to callers that were not authenticated. When there are more than
/// <see cref="LimitOptions.RefusalsPerSecond"/>, each refusal waits for its turn, at most <see cref="MaxWait"/>. A
/// flood over n connections whose senders wait for each answer therefore gets RefusalsPerSecond answers a second, or
/// n / 2 if that is more, and the server has time for authenticated clients.
/// </summary>
internal sealed class RefusalThrottle(IOptions<LimitOptions> options, TimeProvider clock)
{
    /// <summary>
    /// The longest wait. No turn is further away than this; a refusal that finds no nearer turn waits this long and
    /// takes no turn.
    /// </summary>
    public static readonly TimeSpan MaxWait = TimeSpan.FromSeconds(2);

    /// <summary>
    /// How many refusals wait at the same time, because each takes memory and a timer. One more is sent at once. Closing
    /// its connection instead would save nothing: the caller's next connection costs more than the answer, and a proxy
    /// would take a server that closes connections for a dead one.
    /// </summary>
    public const int MaxWaiting = 10_000;

    // As many refusals as one second allows are sent without a wait.
    private static readonly TimeSpan Burst = TimeSpan.FromSeconds(1);

    private readonly long start = clock.GetTimestamp();
    private readonly long interval = TimeSpan.TicksPerSecond / options.Value.RefusalsPerSecond;

    // The turn of the next refusal, in ticks since the start.
    private long next;

    private int waiting;

    /// <summary>Waits for the turn. Returns early, without an exception, when the caller disconnects.</summary>
    public async ValueTask WaitAsync(CancellationToken ct)
    {
        var wait = TakeTurn();
        if (wait <= TimeSpan.Zero)
            return;

        if (Interlocked.Increment(ref waiting) <= MaxWaiting)
            await Task.Delay(wait, clock, ct).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        Interlocked.Decrement(ref waiting);
    }

    private TimeSpan TakeTurn()
    {
        while (true)
        {
            var (now, turn) = (clock.GetElapsedTime(start).Ticks, Volatile.Read(ref next));
            var wait = TimeSpan.FromTicks(turn - now) - Burst;
            if (wait > MaxWait)
                return MaxWait;
            if (Interlocked.CompareExchange(ref next, Math.Max(turn, now) + interval, turn) == turn)
                return wait;
        }
    }
}
