using Microsoft.Extensions.Options;

namespace TokenService.Limits;

/// <summary>
/// Throttles answers to callers that are not authenticated, so that the server has time for those that are. When there
/// are more than so many a second, each answer waits for its turn, at most a longest wait. A flood over n connections
/// whose senders wait for each answer therefore gets that many answers a second, or n divided by three quarters of the
/// longest wait, if that is more.
/// </summary>
/// <param name="perSecond">How many turns there are in a second.</param>
/// <param name="maxWait">
/// The longest wait. No turn is further away than this; an answer that finds no nearer turn waits between half as long and
/// this long, and takes no turn.
/// </param>
/// <param name="clock">Measures the waits.</param>
internal abstract class Throttle(int perSecond, TimeSpan maxWait, TimeProvider clock)
{
    /// <summary>
    /// How many answers wait at the same time, because each takes memory and a timer. One more is sent at once. Closing
    /// its connection instead would save nothing: the caller's next connection costs more than the answer, and a proxy
    /// would take a server that closes connections for a dead one.
    /// </summary>
    public const int MaxWaiting = 10_000;

    // As many answers as one second allows are sent without a wait.
    private static readonly TimeSpan Burst = TimeSpan.FromSeconds(1);

    private readonly long start = clock.GetTimestamp();
    private readonly long interval = TimeSpan.TicksPerSecond / perSecond;

    // The turn of the next answer, in ticks since the start.
    private long next;

    private int waiting;

    // How many answers have found no turn.
    private long late;

    /// <summary>Waits for the turn. Returns early, without an exception, when the caller disconnects.</summary>
    /// <param name="ct">The caller's.</param>
    /// <param name="turns">How many turns the answer takes; a long one takes several.</param>
    public async ValueTask WaitAsync(CancellationToken ct, int turns = 1)
    {
        var wait = TakeTurns(turns);
        if (wait <= TimeSpan.Zero)
            return;

        if (Interlocked.Increment(ref waiting) <= MaxWaiting)
            await Task.Delay(wait, clock, ct).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        Interlocked.Decrement(ref waiting);
    }

    // Without it, thousands of answers that found no turn in one moment would all be sent in one later moment.
    private TimeSpan Spread() => TimeSpan.FromTicks((Interlocked.Increment(ref late) - 1) * interval % (maxWait.Ticks / 2));

    private TimeSpan TakeTurns(int turns)
    {
        while (true)
        {
            var (now, turn) = (clock.GetElapsedTime(start).Ticks, Volatile.Read(ref next));
            var wait = TimeSpan.FromTicks(turn - now) - Burst;
            if (wait > maxWait)
                return maxWait - Spread();
            if (Interlocked.CompareExchange(ref next, Math.Max(turn, now) + (turns * interval), turn) == turn)
                return wait;
        }
    }
}

/// <summary>Throttles refusals of the token, introspection and revocation endpoints.</summary>
internal sealed class RefusalThrottle(IOptions<LimitOptions> options, TimeProvider clock)
    : Throttle(options.Value.RefusalsPerSecond, MaxWait, clock)
{
    public static readonly TimeSpan MaxWait = TimeSpan.FromSeconds(2);
}

/// <summary>
/// Throttles the documents that anybody may read, and the answers to requests for no such document. Each 16 KiB takes a
/// turn. There are as many turns in a second as for refusals.
/// </summary>
internal sealed class DocumentThrottle(IOptions<LimitOptions> options, TimeProvider clock)
    : Throttle(options.Value.RefusalsPerSecond, MaxWait, clock)
{
    public static readonly TimeSpan MaxWait = TimeSpan.FromSeconds(2);

    private const int BytesPerTurn = 16 * 1024;

    /// <summary>How many turns a body takes.</summary>
    /// <param name="length">The length of the body in bytes.</param>
    public static int TurnsOf(int length) => 1 + (length / BytesPerTurn);
}

/// <summary>
/// Throttles the answers of the health endpoints. An orchestrator gives a replica up that does not answer for a second, so
/// the wait is short.
/// </summary>
internal sealed class HealthThrottle(TimeProvider clock) : Throttle(PerSecond, TimeSpan.FromMilliseconds(250), clock)
{
    private const int PerSecond = 500;
}
