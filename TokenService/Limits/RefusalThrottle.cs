using Microsoft.Extensions.Options;

namespace TokenService.Limits;

/// <summary>
/// How fast callers that have not proved who they are hear that they are refused. When there are more than so many in a second, each waits for
/// its turn, or for <see cref="MaxWait"/> when that is sooner: whoever sends one guess after another over n connections hears of so
/// many in a second or, where that is more, of n / 2, and the server has time for those it knows.
/// </summary>
internal sealed class RefusalThrottle(IOptions<LimitOptions> options, TimeProvider clock)
{
    /// <summary>
    /// No refusal waits for longer, so none has a turn that is further off. Who finds no nearer one waits as long without: the line is
    /// as short for whoever comes after.
    /// </summary>
    public static readonly TimeSpan MaxWait = TimeSpan.FromSeconds(2);

    /// <summary>
    /// So many wait at a time, since nothing else bounds how many connections there are; one more is answered at once. To close it would
    /// save nothing, for the next connection costs more than the answer, and a proxy takes a server that closes them for a dead one.
    /// </summary>
    public const int MaxWaiting = 10_000;

    // At once; after that, in turn.
    private static readonly TimeSpan Slack = TimeSpan.FromSeconds(1);

    private readonly long start = clock.GetTimestamp();
    private readonly long interval = TimeSpan.TicksPerSecond / options.Value.RefusalsPerSecond;

    // The turn of the next, in ticks since the start.
    private long next;

    private int waiting;

    /// <summary>Waits for the turn. Ends without a word when the caller goes away.</summary>
    public async ValueTask WaitAsync(CancellationToken ct)
    {
        var wait = Wait();
        if (wait <= TimeSpan.Zero)
            return;

        if (Interlocked.Increment(ref waiting) <= MaxWaiting)
            await Task.Delay(wait, clock, ct).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        Interlocked.Decrement(ref waiting);
    }

    private TimeSpan Wait()
    {
        while (true)
        {
            var (now, turn) = (clock.GetElapsedTime(start).Ticks, Volatile.Read(ref next));
            var wait = TimeSpan.FromTicks(turn - now) - Slack;
            if (wait > MaxWait)
                return MaxWait;
            if (Interlocked.CompareExchange(ref next, Math.Max(turn, now) + interval, turn) == turn)
                return wait;
        }
    }
}
