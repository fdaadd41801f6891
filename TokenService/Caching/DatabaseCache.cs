using Npgsql;
using TokenService.Postgres;

namespace TokenService.Caching;

/// <summary>Options of a <see cref="DatabaseCache{TValue}"/>.</summary>
/// <param name="Subject">The first word of the notifications about these rows, such as <c>client</c>.</param>
/// <param name="ServeWhileAway">
/// How old a value may be that is served while the database is unavailable; zero: none is served.
/// </param>
/// <param name="MaxKnown">How many values the cache keeps at most.</param>
/// <param name="MaxUnknown">How many ids that the database does not have the cache keeps at most.</param>
internal sealed record CacheOptions(string Subject, TimeSpan ServeWhileAway, int MaxKnown, int MaxUnknown);

/// <summary>
/// A cache of database rows by id, and of ids that the database does not have. While notifications arrive, a cached
/// value is valid until a notification names its id. While they do not arrive, it is valid for one second. This replica
/// therefore obeys a change at once or, when the listening connection died without an error, within
/// <see cref="ChangeNotifications.MaxSilence"/>. While the database does not answer, cached values are served up to a
/// stated age, and every other lookup fails.
/// </summary>
internal sealed partial class DatabaseCache<TValue> : IDisposable
    where TValue : class
{
    private static readonly TimeSpan MaxAgeWhileNotListening = TimeSpan.FromSeconds(1);

    // If a trigger is missing, as after an incomplete restore, this replica still sees a change after this time.
    private static readonly TimeSpan MaxAgeWhileListening = TimeSpan.FromMinutes(10);

    private readonly CacheOptions options;
    private readonly ChangeNotifications notifications;
    private readonly TimeProvider clock;
    private readonly DatabaseGate gate;
    private readonly IDisposable subscription;

    private readonly BoundedMap<string, Entry> known;
    private readonly BoundedMap<string, Entry> unknown;

    private readonly SingleFlight<string, TValue?> reads = new();
    private readonly StatementBatches<string, Read> batches;

    // Held while an entry is added or removed. Lookups take no lock.
    private readonly Lock entriesLock = new();

    // The number of notifications so far. A read compares it before and after, so that a value from before a change is
    // not kept.
    private long changes;

    /// <param name="options">The subject of the notifications, the maximum age and the maximum sizes.</param>
    /// <param name="find">Reads values from the database. Ids that the database does not have are left out.</param>
    /// <param name="notifications">Notifications of rows that changed.</param>
    /// <param name="clock">Measures the age of values.</param>
    /// <param name="logger">Logs when the database becomes unavailable and when it answers again.</param>
    public DatabaseCache(
        CacheOptions options,
        Func<IReadOnlyCollection<string>, CancellationToken, Task<IReadOnlyDictionary<string, TValue>>> find,
        ChangeNotifications notifications,
        TimeProvider clock,
        ILogger logger)
    {
        (this.options, this.notifications, this.clock) = (options, notifications, clock);
        gate = new DatabaseGate(
            notifications,
            clock,
            lost: e => Log.Lost(logger, e, options.Subject, options.ServeWhileAway),
            restored: () => Log.Restored(logger, options.Subject));
        batches = new StatementBatches<string, Read>((ids, ct) => ReadAllAsync(find, ids, ct), gate, clock);
        (known, unknown) = (new(options.MaxKnown), new(options.MaxUnknown));
        subscription = notifications.Subscribe(options.Subject, Forget);
    }

    /// <summary>True while the database is unavailable, as far as the last query for such a value shows.</summary>
    public bool IsDatabaseLost => gate.IsLost;

    /// <summary>
    /// How old a served value may be: zero while notifications arrive, else the time since the database last answered.
    /// </summary>
    public TimeSpan Age => notifications.IsListening ? TimeSpan.Zero : Shorter(notifications.SilentFor, gate.SinceAnswer);

    /// <summary>True when the cache has a value for this id. Reads nothing.</summary>
    public bool IsKnown(string id) => known.TryGetValue(id, out _);

    /// <summary>
    /// The value of an id, from the cache or else from the database; null: the database has no such id.
    /// </summary>
    /// <param name="id">The id as notifications name it.</param>
    /// <param name="ct">Ends this caller's wait. Other callers that wait for the same id are not affected.</param>
    /// <exception cref="NpgsqlException">A read is necessary, and the database is unavailable.</exception>
    /// <exception cref="TimeoutException">
    /// A read is necessary, and the database did not answer in time or a moment ago.
    /// </exception>
    public ValueTask<TValue?> FindAsync(string id, CancellationToken ct) => FindAsync(id, out _, ct);

    /// <summary>The same as <see cref="FindAsync(string, CancellationToken)"/>.</summary>
    /// <param name="isCached">True when the value comes from the cache, false when it is read now.</param>
    public ValueTask<TValue?> FindAsync(string id, out bool isCached, CancellationToken ct)
    {
        isCached = (known.TryGetValue(id, out var entry) || unknown.TryGetValue(id, out entry)) && IsFresh(entry);
        return isCached ? new(entry!.Value) : new(ReadAsync(id, ct));
    }

    /// <summary>
    /// The same as <see cref="FindAsync(string, CancellationToken)"/>, but reads the database even if a cached value is
    /// valid.
    /// </summary>
    public async Task<TValue?> ReadAsync(string id, CancellationToken ct)
    {
        var isLost = gate.IsLost;
        if (!gate.TryEnter())
            return FindStale(id) ?? throw new TimeoutException("The database did not answer a moment ago.");

        var read = reads.RunAsync(id, () => LoadAsync(id, isProbe: isLost), out _);
        if (isLost)
        {
            // This read is a probe, which probably fails. Its caller does not wait for it, whether or not it names a known
            // client: the time of the answer would tell.
            _ = read.ContinueWith(probe => probe.Exception, TaskScheduler.Default);
            return FindStale(id) ?? throw new TimeoutException("The database did not answer a moment ago.");
        }

        try
        {
            return await read.WaitAsync(ct);
        }
        // A database that is only slow is no reason to serve an old value.
        catch (Exception e) when (e is not DatabaseSlowException && DatabaseUnavailable.IsTheCauseOf(e) && FindStale(id) is { } last)
        {
            return last;
        }
    }

    /// <summary>
    /// Removes a value, so that the next lookup reads the database. Notifications call this, and so does code of this
    /// replica that changed the row.
    /// </summary>
    /// <param name="id">The id of the row that changed; null: any row may have changed.</param>
    public void Forget(string? id)
    {
        lock (entriesLock)
        {
            changes++;
            if (id is null)
            {
                known.Clear();
                unknown.Clear();
                reads.Clear();
                // The listening connection works again, so the database is available.
                gate.Reset();
                return;
            }

            known.Remove(id);
            unknown.Remove(id);
            // A read that runs now may have started before the change, so later callers must not join it.
            reads.Forget(id);
        }
    }

    public void Dispose() => subscription.Dispose();

    private bool IsFresh(Entry entry) =>
        clock.GetElapsedTime(entry.ReadAt) < (notifications.IsListening ? MaxAgeWhileListening : MaxAgeWhileNotListening);

    // The cached value, if it was certainly current less than ServeWhileAway ago: when it was read, or at the last
    // heartbeat, because until then a notification would have removed an outdated value.
    private TValue? FindStale(string id) =>
        known.TryGetValue(id, out var entry)
            && Shorter(notifications.SilentFor, clock.GetElapsedTime(entry.ReadAt)) < options.ServeWhileAway
                ? entry.Value
                : null;

    private async Task<TValue?> LoadAsync(string id, bool isProbe)
    {
        var read = await batches.RunAsync(id, isProbe);
        Keep(id, new Entry(read.Value, read.At), read.ChangesThen);
        return read.Value;
    }

    private async Task<IReadOnlyList<Read>> ReadAllAsync(
        Func<IReadOnlyCollection<string>, CancellationToken, Task<IReadOnlyDictionary<string, TValue>>> find,
        IReadOnlyList<string> ids,
        CancellationToken ct)
    {
        var (at, changesThen) = (clock.GetTimestamp(), Volatile.Read(ref changes));
        var found = await find([.. ids.Distinct(StringComparer.Ordinal)], ct);
        return [.. ids.Select(id => new Read(found.GetValueOrDefault(id), at, changesThen))];
    }

    private void Keep(string id, Entry entry, long changesThen)
    {
        lock (entriesLock)
        {
            if (entry.Value is null)
                known.Remove(id);
            if (changes == changesThen)
                (entry.Value is null ? unknown : known).Set(id, entry);
        }
    }

    private static TimeSpan Shorter(TimeSpan a, TimeSpan b) => a < b ? a : b;

    /// <param name="Value">The value that was read; null: the database had no such id.</param>
    /// <param name="ReadAt">The clock's timestamp just before the read.</param>
    private sealed record Entry(TValue? Value, long ReadAt);

    /// <param name="Value">The value; null: the database has no such id.</param>
    /// <param name="At">The clock's timestamp just before the query.</param>
    /// <param name="ChangesThen">The number of notifications just before the query.</param>
    private readonly record struct Read(TValue? Value, long At, long ChangesThen);

    private static partial class Log
    {
        [LoggerMessage(1, LogLevel.Warning,
            "The database does not answer. Requests that need a cached {Subject} are answered from the cache for "
            + "{ServeWhileAway}; others get 503. Check the database; this server recovers without a restart")]
        public static partial void Lost(ILogger logger, Exception e, string subject, TimeSpan serveWhileAway);

        [LoggerMessage(2, LogLevel.Information, "The database answers again (to a query for a {Subject})")]
        public static partial void Restored(ILogger logger, string subject);
    }
}
