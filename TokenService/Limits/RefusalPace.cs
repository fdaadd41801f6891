using Microsoft.Extensions.Options;

namespace TokenService.Limits;

/// <summary>
/// How fast callers that have not proved who they are hear that they are refused. When there are more than so many in a second, each waits for
/// its turn: whoever sends one guess after another over some connections then sends few, and the server has time for those it knows.
/// </summary>
internal sealed class RefusalPace(IOptions<LimitOptions> options, TimeProvider clock)
{
    /// <summary>
    /// No refusal waits for longer, and so no more wait than come to their turn in this time. Whoever keeps yet more connections busy
    /// gains little by it: those that find the queue full are answered at once.
    /// </summary>
    public static readonly TimeSpan LongestWait = TimeSpan.FromSeconds(2);

    // At once; after that, in turn.
    private static readonly TimeSpan Slack = TimeSpan.FromSeconds(1);

    private readonly long start = clock.GetTimestamp();
    private readonly long interval = TimeSpan.TicksPerSecond / options.Value.RefusalsPerSecond;

    // The turn of the next, in ticks since the start.
    private long next;

    /// <summary>Waits for the turn. Ends without a word when the caller goes away.</summary>
    public ValueTask WaitAsync(CancellationToken ct)
    {
        var wait = Wait();
        return wait > TimeSpan.Zero ? new(WaitAsync(wait, ct)) : ValueTask.CompletedTask;
    }

    private TimeSpan Wait()
    {
        while (true)
        {
            var (now, turn) = (clock.GetElapsedTime(start).Ticks, Volatile.Read(ref next));
            var wait = TimeSpan.FromTicks(turn - now) - Slack;
            if (wait > LongestWait)
                return TimeSpan.Zero;
            if (Interlocked.CompareExchange(ref next, Math.Max(turn, now) + interval, turn) == turn)
                return wait;
        }
    }

    private async Task WaitAsync(TimeSpan wait, CancellationToken ct) =>
        await Task.Delay(wait, clock, ct).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
}
