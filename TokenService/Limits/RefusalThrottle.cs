using Microsoft.Extensions.Options;

namespace TokenService.Limits;

/// <summary>
/// Limits how fast callers that were not authenticated hear that they are refused. When there are more of them in a second than
/// <see cref="LimitOptions.RefusalsPerSecond"/>, each waits for its turn, or for <see cref="MaxWait"/> if that is sooner. A flood
/// over n connections whose senders wait for each answer gets that many answers a second or, if that is more, n / 2, and the server
/// has time for the clients it knows.
/// </summary>
internal sealed class RefusalThrottle(IOptions<LimitOptions> options, TimeProvider clock)
{
    /// <summary>No refusal waits for longer, so no turn is further off. A refusal without a nearer turn waits this long without one.</summary>
    public static readonly TimeSpan MaxWait = TimeSpan.FromSeconds(2);

    /// <summary>
    /// How many wait at a time, since nothing else bounds the number of connections; one more is answered at once. Closing its
    /// connection would save nothing: the next connection costs more than the answer, and a proxy takes a server that closes
    /// connections for a dead one.
    /// </summary>
    public const int MaxWaiting = 10_000;

    // The refusals of one second need not wait at all.
    private static readonly TimeSpan Burst = TimeSpan.FromSeconds(1);

    private readonly long start = clock.GetTimestamp();
    private readonly long interval = TimeSpan.TicksPerSecond / options.Value.RefusalsPerSecond;

    // The turn of the next refusal, in ticks since the start.
    private long next;

    private int waiting;

    /// <summary>Waits for the turn. Returns early, without an exception, when the caller goes away.</summary>
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
