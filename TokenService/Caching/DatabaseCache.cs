using System.Collections.Concurrent;
using Npgsql;
using TokenService.Postgres;

namespace TokenService.Caching;

/// <summary>What a <see cref="DatabaseCache{TValue}"/> remembers, and how much of it.</summary>
/// <param name="Subject">What notifications call it.</param>
/// <param name="ServeWhileAway">How old it may be, at most, when the database is away; zero: it is refused at once.</param>
/// <param name="MaxKnown">How many are kept.</param>
/// <param name="MaxUnknown">Of how many ids it is kept that there is none.</param>
internal sealed record Remembering(string Subject, TimeSpan ServeWhileAway, int MaxKnown, int MaxUnknown);

/// <summary>
/// What the database has of many ids, in memory, and for a while of which ids it has nothing. While notifications are heard, what was read is
/// good until one names it; while they are not, it is good for a second. So what the database withdraws, this replica withdraws at once, or,
/// if the link is lost without a word, within <see cref="ChangeNotifications.MaxSilence"/> of that. While the database does not answer within a
/// second, what is known is served as it was for a stated time; nothing else is.
/// </summary>
internal sealed partial class DatabaseCache<TValue> : IDisposable
    where TValue : class
{
    // Of the connections of the pool, so that a flood of unknown ids leaves some to everybody else. There are 100 unless the connection
    // string says otherwise; the caches of clients and of tokens and those who revoke take 80 of them at most.
    private const int MaxReads = 32;

    // Who comes after them is refused at once, so that those who wait cannot fill the server.
    private const int MaxWaiting = 1024;

    private static readonly TimeSpan MaxAgeWhileNotListening = TimeSpan.FromSeconds(1);

    // Should a trigger be missing, as after a restore gone wrong, there is an end to what that can do.
    private static readonly TimeSpan MaxAgeWhileListening = TimeSpan.FromMinutes(10);

    // A database that takes longer is as good as away, and is not asked again at once.
    private static readonly TimeSpan ReadTimeout = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan AskAgainAfter = TimeSpan.FromSeconds(1);

    private const long NotAway = 0;

    private readonly Remembering remembering;
    private readonly Func<string, CancellationToken, Task<TValue?>> find;
    private readonly ChangeNotifications notifications;
    private readonly TimeProvider clock;
    private readonly ILogger logger;
    private readonly IDisposable subscription;

    private readonly ConcurrentDictionary<string, Known> known = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<string, Known> unknown = new(StringComparer.Ordinal);

    private readonly ConcurrentDictionary<string, Lazy<Task<TValue?>>> reads = new(StringComparer.Ordinal);
    private readonly SemaphoreSlim mayRead = new(MaxReads);

    // Held for a moment where something is put in or taken out, never where it is looked up.
    private readonly Lock gate = new();

    private int waiting;

    // Counts the notifications, so that what was read before one is not kept after it.
    private long news;

    // When the database last answered, and when, since then, it did not.
    private long answeredAt;
    private long awayAt = NotAway;

    /// <param name="remembering">Of what, and how much.</param>
    /// <param name="find">Reads one from the database; null: there is none of that id.</param>
    /// <param name="notifications">Name those that change.</param>
    /// <param name="clock">Says how old what is remembered is.</param>
    /// <param name="logger">Is told when the database is away.</param>
    public DatabaseCache(
        Remembering remembering,
        Func<string, CancellationToken, Task<TValue?>> find,
        ChangeNotifications notifications,
        TimeProvider clock,
        ILogger logger)
    {
        (this.remembering, this.find, this.notifications, this.clock, this.logger) = (remembering, find, notifications, clock, logger);
        answeredAt = clock.GetTimestamp();
        subscription = notifications.Subscribe(remembering.Subject, Forget);
    }

    /// <summary>How old what is served may be: zero while notifications are heard, else the time since the database last answered.</summary>
    public TimeSpan Age => notifications.IsListening
        ? TimeSpan.Zero
        : Shorter(notifications.SilentFor, clock.GetElapsedTime(Volatile.Read(ref answeredAt)));

    /// <summary>The one of that id, or null when there is none.</summary>
    /// <param name="id">Its id, as notifications name it.</param>
    /// <param name="ct">Ends the wait; others who wait for the same are not concerned.</param>
    /// <exception cref="NpgsqlException">The database has to be asked, and is away.</exception>
    /// <exception cref="TimeoutException">It has to be asked, and did not answer a moment ago.</exception>
    public ValueTask<TValue?> FindAsync(string id, CancellationToken ct) =>
        (known.TryGetValue(id, out var found) || unknown.TryGetValue(id, out found)) && IsGood(found)
            ? new(found.Value)
            : new(AskAsync(id, ct));

    /// <summary>The same, read now, where the database answers.</summary>
    public Task<TValue?> ReadAsync(string id, CancellationToken ct) => AskAsync(id, ct);

    /// <summary>Reads what changed when it is next asked for. ChangeNotifications call this; so may whoever changes it.</summary>
    /// <param name="id">Which; null: any may have changed.</param>
    public void Forget(string? id)
    {
        lock (gate)
        {
            news++;
            if (id is null)
            {
                known.Clear();
                unknown.Clear();
                reads.Clear();
                // Whoever tells us so is there to be asked.
                Volatile.Write(ref awayAt, NotAway);
                return;
            }

            known.TryRemove(id, out _);
            unknown.TryRemove(id, out _);
            // A read that has begun may not see the change: whoever comes now starts another.
            reads.TryRemove(id, out _);
        }
    }

    public void Dispose()
    {
        subscription.Dispose();
        mayRead.Dispose();
    }

    private bool IsGood(Known found) =>
        clock.GetElapsedTime(found.ReadAt) < (notifications.IsListening ? MaxAgeWhileListening : MaxAgeWhileNotListening);

    private async Task<TValue?> AskAsync(string id, CancellationToken ct)
    {
        var isAway = Volatile.Read(ref awayAt) != NotAway;
        if (isAway && !IsTimeToAskAgain())
            return Remembered(id) ?? throw new TimeoutException("The database did not answer a moment ago.");

        var read = JoinReadAsync(id);
        // Whoever need not wait for a database that is probably still away does not.
        if (isAway && Remembered(id) is { } value)
            return value;
        try
        {
            return await read.WaitAsync(ct);
        }
        catch (Exception e) when (DatabaseUnavailable.IsTheCauseOf(e) && Remembered(id) is { } last)
        {
            return last;
        }
    }

    // One request at a time.
    private bool IsTimeToAskAgain()
    {
        var at = Volatile.Read(ref awayAt);
        return at == NotAway || clock.GetElapsedTime(at) >= AskAgainAfter
            && Interlocked.CompareExchange(ref awayAt, clock.GetTimestamp(), at) == at;
    }

    // As the database had it when it could last be heard or asked.
    private TValue? Remembered(string id) =>
        known.TryGetValue(id, out var found) && Shorter(notifications.SilentFor, clock.GetElapsedTime(found.ReadAt)) < remembering.ServeWhileAway
            ? found.Value
            : null;

    // Of many who need one client, one asks; who comes after news of it starts another.
    private Task<TValue?> JoinReadAsync(string id)
    {
        Lazy<Task<TValue?>> own = null!;
        own = new(() => LoadAsync(id, ended: () => reads.TryRemove(new(id, own))));
        return reads.GetOrAdd(id, own).Value;
    }

    private async Task<TValue?> LoadAsync(string id, Action ended)
    {
        if (!await MayReadAsync())
        {
            ended();
            throw new TimeoutException("Too many others are asking the database.");
        }

        var (readAt, newsThen) = (clock.GetTimestamp(), Volatile.Read(ref news));
        try
        {
            var value = await DatabaseUnavailable.AskAsync(ReadTimeout, clock, ct => find(id, ct));
            Volatile.Write(ref answeredAt, readAt);
            if (Interlocked.Exchange(ref awayAt, NotAway) != NotAway)
                Log.Back(logger, remembering.Subject);
            Keep(id, new Known(value, readAt), newsThen);
            return value;
        }
        catch (Exception e) when (DatabaseUnavailable.IsTheCauseOf(e))
        {
            if (Interlocked.Exchange(ref awayAt, clock.GetTimestamp()) == NotAway)
                Log.Away(logger, e, remembering.Subject, remembering.ServeWhileAway);
            throw;
        }
        finally
        {
            mayRead.Release();
            ended();
        }
    }

    private async Task<bool> MayReadAsync()
    {
        try
        {
            if (Interlocked.Increment(ref waiting) > MaxWaiting)
                return false;
            using var timeout = new CancellationTokenSource(ReadTimeout, clock);
            await mayRead.WaitAsync(timeout.Token);
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

    private void Keep(string id, Known found, long newsThen)
    {
        lock (gate)
        {
            if (found.Value is null)
                known.TryRemove(id, out _);
            if (news == newsThen)
                Keep(found.Value is null ? unknown : known, found.Value is null ? remembering.MaxUnknown : remembering.MaxKnown, id, found);
        }
    }

    private static void Keep(ConcurrentDictionary<string, Known> kept, int most, string id, Known found)
    {
        kept[id] = found;
        if (kept.Count <= most)
            return;

        // Any will do: whoever comes back is read again.
        foreach (var other in kept.Take(most / 8))
            kept.TryRemove(other);
    }

    private static TimeSpan Shorter(TimeSpan a, TimeSpan b) => a < b ? a : b;

    /// <param name="Value">As it was; null: there was none.</param>
    /// <param name="ReadAt">Before it was read.</param>
    private sealed record Known(TValue? Value, long ReadAt);

    private static partial class Log
    {
        [LoggerMessage(1, LogLevel.Warning,
            "The database does not answer; each {Subject} that is known is served as it was, for {ServeWhileAway}")]
        public static partial void Away(ILogger logger, Exception e, string subject, TimeSpan serveWhileAway);

        [LoggerMessage(2, LogLevel.Information, "The database answers again, asked for a {Subject}")]
        public static partial void Back(ILogger logger, string subject);
    }
}
