using Microsoft.Extensions.Options;
using TokenService.Telemetry;

namespace TokenService.Limits;

/// <summary>
/// Limits the open connections, because each one takes memory for as long as its peer likes. When one more is accepted,
/// connections that do no work are closed to make room: first those on which no client has authenticated, then idle ones
/// on which a client has; in both cases those that have been idle for longest. A connection that works is never closed.
/// When all of them work, or half as many are still being closed, the new one is refused.
/// </summary>
internal sealed partial class ConnectionLimit
{
    // Many connections are closed at once, so that a flood of new ones does not search all open ones for each.
    private const int Batches = 16;

    private static readonly TimeSpan LogInterval = TimeSpan.FromMinutes(1);

    private readonly int max;
    private readonly TimeProvider clock;
    private readonly ILogger<ConnectionLimit> logger;

    // Guards all fields below. It is taken when a connection opens, ends or is first authenticated, but not by requests.
    private readonly Lock gate = new();

    // Connections on which no client has authenticated yet, and the others.
    private readonly HashSet<OpenConnection> strangers = [];
    private readonly HashSet<OpenConnection> known = [];

    // Connections that are closed and have not ended yet. Each still takes memory, and ending it takes time.
    private int ending;

    // Since the last line in the log, whose time is a timestamp of the clock; null: there was no line.
    private long? loggedAt;
    private int closed;
    private int refused;

    public ConnectionLimit(IOptions<LimitOptions> options, Metrics metrics, TimeProvider clock, ILogger<ConnectionLimit> logger)
    {
        (this.clock, this.logger) = (clock, logger);
        max = Math.Min(options.Value.Connections, LimitOptions.MaxByFiles(LimitOptions.MaxOpenFiles()));
        if (max < options.Value.Connections)
            Log.TooFewFiles(logger, options.Value.Connections, max);
        metrics.ObserveConnections(() => Count);
    }

    /// <summary>Open connections. One that is being closed no longer counts.</summary>
    public int Count
    {
        get
        {
            lock (gate)
                return strangers.Count + known.Count;
        }
    }

    /// <summary>Counts a new connection, and closes others if there are too many.</summary>
    /// <param name="abort">Closes the new connection at once.</param>
    /// <returns>
    /// The connection, which the caller must pass to <see cref="Remove"/> when it has ended. Null: there is no room, and
    /// the caller must close the new one.
    /// </returns>
    public OpenConnection? TryAdd(Action abort)
    {
        var connection = new OpenConnection(this, clock, abort);
        List<OpenConnection> closing = [];
        bool isAdded;
        lock (gate)
        {
            if (Count >= max)
                closing = TakeIdle();
            ending += closing.Count;
            isAdded = Count < max && ending <= max / 2;
            if (isAdded)
                strangers.Add(connection);
        }

        foreach (var idle in closing)
            idle.Abort();
        if (closing.Count > 0 || !isAdded)
            Report(closing.Count, isAdded ? 0 : 1);
        return isAdded ? connection : null;
    }

    public void Remove(OpenConnection connection)
    {
        lock (gate)
        {
            if (!strangers.Remove(connection) && !known.Remove(connection))
                ending--;
        }
    }

    /// <summary>A client has authenticated on this connection.</summary>
    public void SetKnown(OpenConnection connection)
    {
        lock (gate)
        {
            // A connection that has ended meanwhile is in neither set.
            if (strangers.Remove(connection))
                known.Add(connection);
        }
    }

    // Strangers and known ones are never closed together, so an attacker who opens many connections without
    // authenticating closes only such connections.
    private List<OpenConnection> TakeIdle() => TakeIdle(strangers) is { Count: > 0 } taken ? taken : TakeIdle(known);

    private List<OpenConnection> TakeIdle(HashSet<OpenConnection> from)
    {
        // Sorting reads each time once, so it does not matter that requests change the times meanwhile.
        var taken = from.Where(connection => connection.IsIdle)
            .OrderBy(connection => connection.IdleSince)
            .Take(max / Batches)
            .Where(connection => connection.TryClose())
            .ToList();
        from.ExceptWith(taken);
        return taken;
    }

    private void Report(int closedNow, int refusedNow)
    {
        int closedSince, refusedSince;
        lock (gate)
        {
            closed += closedNow;
            refused += refusedNow;
            if (loggedAt is { } at && clock.GetElapsedTime(at) < LogInterval)
                return;
            loggedAt = clock.GetTimestamp();
            (closedSince, closed) = (closed, 0);
            (refusedSince, refused) = (refused, 0);
        }

        Log.TooMany(logger, max, closedSince, refusedSince);
    }

    private static partial class Log
    {
        // At most once a minute. The counts are those since the previous line.
        [LoggerMessage(1, LogLevel.Warning,
            "More than {Max} connections were open, so {Idle} of them that did no work were closed, and {New} new ones "
            + "were refused because the others were working or still being closed. Their callers must connect again. If "
            + "these are your clients, raise Limits:Connections; otherwise limit the connections of each address at a "
            + "proxy or firewall")]
        public static partial void TooMany(ILogger logger, int max, int idle, int @new);

        [LoggerMessage(2, LogLevel.Warning,
            "Limits:Connections is {Wanted}, but this process may open too few files for that, so at most {Max} connections "
            + "are open at once. Raise the limit of open files (ulimit -n), or lower the setting")]
        public static partial void TooFewFiles(ILogger logger, int wanted, int max);
    }
}
