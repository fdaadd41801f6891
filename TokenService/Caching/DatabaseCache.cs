using Npgsql;
using TokenService.Postgres;

namespace TokenService.Caching;

/// <summary>What a <see cref="DatabaseCache{TValue}"/> holds, and how much.</summary>
/// <param name="Subject">The first word of the notifications that name a change, such as <c>client</c>.</param>
/// <param name="ServeWhileAway">How old a value may be that is served while the database is unavailable; zero: none is.</param>
/// <param name="MaxKnown">How many values it keeps.</param>
/// <param name="MaxUnknown">How many ids it keeps that the database does not have.</param>
internal sealed record CacheOptions(string Subject, TimeSpan ServeWhileAway, int MaxKnown, int MaxUnknown);

/// <summary>
/// Rows of the database in memory, by id, and ids that the database does not have. While notifications arrive, a value is good until
/// one names it. While they do not, it is good for a second. So this replica obeys a change at once or, when the connection is lost
/// without a word, within <see cref="ChangeNotifications.MaxSilence"/> of that. While the database does not answer within a second,
/// known values are served as they were for a stated time; nothing else is.
/// </summary>
internal sealed partial class DatabaseCache<TValue> : IDisposable
    where TValue : class
{
    // A pool has 100 connections unless the connection string says otherwise. The caches of clients and of tokens and the writers of
    // revocations take at most 80 of them, so that a flood of unknown ids leaves some to everybody else.
    private const int MaxReads = 32;

    // One more is refused at once, so that those who wait cannot fill the server.
    private const int MaxWaiting = 1024;

    private static readonly TimeSpan MaxAgeWhileNotListening = TimeSpan.FromSeconds(1);

    // If a trigger is missing, as after a restore gone wrong, a change is seen after this time all the same.
    private static readonly TimeSpan MaxAgeWhileListening = TimeSpan.FromMinutes(10);

    private readonly CacheOptions options;
    private readonly Func<string, CancellationToken, Task<TValue?>> find;
    private readonly ChangeNotifications notifications;
    private readonly TimeProvider clock;
    private readonly DatabaseGate gate;
    private readonly IDisposable subscription;

    private readonly BoundedMap<string, Entry> known;
    private readonly BoundedMap<string, Entry> unknown;

    private readonly SingleFlight<string, TValue?> reads = new();
    private readonly SemaphoreSlim readSlots = new(MaxReads);

    // Held for a moment while an entry is put in or taken out, never while one is looked up.
    private readonly Lock entriesLock = new();

    private int waiting;

    // Counts the notifications, so that a value read before one is not kept after it.
    private long changes;

    /// <param name="options">What it holds, and how much.</param>
    /// <param name="find">Reads one value from the database; null: there is none of that id.</param>
    /// <param name="notifications">Name the values that change.</param>
    /// <param name="clock">Measures the age of values.</param>
    /// <param name="logger">Hears when the database is lost and restored.</param>
    public DatabaseCache(
        CacheOptions options,
        Func<string, CancellationToken, Task<TValue?>> find,
        ChangeNotifications notifications,
        TimeProvider clock,
        ILogger logger)
    {
        (this.options, this.find, this.notifications, this.clock) = (options, find, notifications, clock);
        gate = new DatabaseGate(
            clock,
            lost: e => Log.Lost(logger, e, options.Subject, options.ServeWhileAway),
            restored: () => Log.Restored(logger, options.Subject));
        (known, unknown) = (new(options.MaxKnown), new(options.MaxUnknown));
        subscription = notifications.Subscribe(options.Subject, Forget);
    }

    /// <summary>How old a served value may be: zero while notifications arrive, else the time since the database last answered.</summary>
    public TimeSpan Age => notifications.IsListening ? TimeSpan.Zero : Shorter(notifications.SilentFor, gate.SinceAnswer);

    /// <summary>The value of an id; null: the database has none.</summary>
    /// <param name="id">As notifications name it.</param>
    /// <param name="ct">Ends this caller's wait; others who wait for the same value go on.</param>
    /// <exception cref="NpgsqlException">The database has to be asked, and is unavailable.</exception>
    /// <exception cref="TimeoutException">It has to be asked, and did not answer a moment ago.</exception>
    public ValueTask<TValue?> FindAsync(string id, CancellationToken ct) =>
        (known.TryGetValue(id, out var entry) || unknown.TryGetValue(id, out entry)) && IsGood(entry)
            ? new(entry.Value)
            : new(ReadAsync(id, ct));

    /// <summary>The same, read now if the database answers.</summary>
    public async Task<TValue?> ReadAsync(string id, CancellationToken ct)
    {
        var isLost = gate.IsLost;
        if (!gate.TryEnter())
            return WhileLost(id) ?? throw new TimeoutException("The database did not answer a moment ago.");

        var read = reads.RunAsync(id, () => LoadAsync(id), out _);
        // A probe need not keep its caller waiting for a database that is probably still unavailable.
        if (isLost && WhileLost(id) is { } value)
            return value;
        try
        {
            return await read.WaitAsync(ct);
        }
        catch (Exception e) when (DatabaseUnavailable.IsTheCauseOf(e) && WhileLost(id) is { } last)
        {
            return last;
        }
    }

    /// <summary>Reads a value anew when it is next asked for. Notifications call this; so may the code that changes the value.</summary>
    /// <param name="id">The id; null: any value may have changed.</param>
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
                // The database that says so is there to be asked.
                gate.Reset();
                return;
            }

            known.Remove(id);
            unknown.Remove(id);
            // A read that has begun may not see the change.
            reads.Forget(id);
        }
    }

    public void Dispose()
    {
        subscription.Dispose();
        readSlots.Dispose();
    }

    private bool IsGood(Entry entry) =>
        clock.GetElapsedTime(entry.ReadAt) < (notifications.IsListening ? MaxAgeWhileListening : MaxAgeWhileNotListening);

    // As the database had it when it could last be heard or asked.
    private TValue? WhileLost(string id) =>
        known.TryGetValue(id, out var entry)
            && Shorter(notifications.SilentFor, clock.GetElapsedTime(entry.ReadAt)) < options.ServeWhileAway
                ? entry.Value
                : null;

    private async Task<TValue?> LoadAsync(string id)
    {
        if (!await TryTakeReadSlotAsync())
            throw new TimeoutException("Too many others are asking the database.");

        try
        {
            var (readAt, changesThen) = (clock.GetTimestamp(), Volatile.Read(ref changes));
            var value = await gate.AskAsync(ct => find(id, ct));
            Keep(id, new Entry(value, readAt), changesThen);
            return value;
        }
        finally
        {
            readSlots.Release();
        }
    }

    private async Task<bool> TryTakeReadSlotAsync()
    {
        try
        {
            if (Interlocked.Increment(ref waiting) > MaxWaiting)
                return false;
            using var timeout = new CancellationTokenSource(DatabaseGate.QuestionTimeout, clock);
            await readSlots.WaitAsync(timeout.Token);
            return true;
        }
        catch (OperationCanceledException)
        {
            return false;
        }
        finally
        {
            Interlocked.Decrement(ref waiting);
        }
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

    /// <param name="Value">As it was read; null: there was none.</param>
    /// <param name="ReadAt">A timestamp from before it was read.</param>
    private sealed record Entry(TValue? Value, long ReadAt);

    private static partial class Log
    {
        [LoggerMessage(1, LogLevel.Warning,
            "The database does not answer. Requests that concern a known {Subject} are answered from memory for {ServeWhileAway}, others "
            + "get 503. Nothing is to be done here; check the database")]
        public static partial void Lost(ILogger logger, Exception e, string subject, TimeSpan serveWhileAway);

        [LoggerMessage(2, LogLevel.Information, "The database answers again (asked for a {Subject})")]
        public static partial void Restored(ILogger logger, string subject);
    }
}
