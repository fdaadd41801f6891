using System.Collections.Concurrent;
using Microsoft.Extensions.Options;
using Npgsql;
using TokenService.Postgres;
using TokenService.Telemetry;

namespace TokenService.Clients;

/// <summary>
/// Clients in memory, as the database has them, and for a while which ids it does not have. While notifications are heard, what was read is
/// good until one names it; while they are not, it is good for a second. So what the database withdraws, this replica withdraws at once, or,
/// if the link is lost without a word, within <see cref="Notifications.DeafAfter"/> of that. While the database does not answer within a
/// second, known clients are served as they were for a stated time; nobody else is.
/// </summary>
internal sealed partial class ClientCache : IDisposable
{
    // Of the connections of the pool, so that a flood of unknown ids leaves some to everybody else.
    private const int MostReads = 32;

    // Who comes after them is refused at once, so that those who wait cannot fill the server.
    private const int MostWaiting = 1024;

    private static readonly TimeSpan GoodWhileDeaf = TimeSpan.FromSeconds(1);

    // Should a trigger be missing, as after a restore gone wrong, there is an end to what that can do.
    private static readonly TimeSpan GoodWhileHearing = TimeSpan.FromMinutes(1);

    // A database that takes longer is as good as away, and is not asked again at once.
    private static readonly TimeSpan ReadTimeout = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan AskAgainAfter = TimeSpan.FromSeconds(1);

    private const long NotAway = 0;

    private readonly ClientStore store;
    private readonly Notifications notifications;
    private readonly TimeProvider clock;
    private readonly ILogger<ClientCache> logger;
    private readonly TimeSpan serveWhileAway;
    private readonly int mostClients;
    private readonly int mostUnknown;
    private readonly IDisposable subscription;

    private readonly ConcurrentDictionary<string, Known> known = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<string, Known> unknown = new(StringComparer.Ordinal);

    private readonly ConcurrentDictionary<string, Lazy<Task<Client?>>> reads = new(StringComparer.Ordinal);
    private readonly SemaphoreSlim mayRead = new(MostReads);

    // Held for a moment where something is put in or taken out, never where it is looked up.
    private readonly Lock gate = new();

    private int waiting;

    // Counts the notifications, so that what was read before one is not kept after it.
    private long news;

    // When the database last answered, and when, since then, it did not.
    private long answeredAt;
    private long awayAt = NotAway;

    public ClientCache(
        ClientStore store,
        Notifications notifications,
        IOptions<ClientCacheOptions> options,
        Metrics metrics,
        TimeProvider clock,
        ILogger<ClientCache> logger)
    {
        (this.store, this.notifications, this.clock, this.logger) = (store, notifications, clock, logger);
        serveWhileAway = options.Value.ServeWhileAway;
        (mostClients, mostUnknown) = (options.Value.MostClients, options.Value.MostUnknown);
        answeredAt = clock.GetTimestamp();
        subscription = notifications.Subscribe("client", Forget);
        metrics.ObserveClients(() => Age.TotalSeconds);
    }

    /// <summary>How old what is served may be: zero while notifications are heard, else the time since the database last answered.</summary>
    public TimeSpan Age => notifications.IsHearing
        ? TimeSpan.Zero
        : Shorter(notifications.SilentFor, clock.GetElapsedTime(Volatile.Read(ref answeredAt)));

    /// <summary>The client, or null when there is none of that id.</summary>
    /// <param name="id">The client_id.</param>
    /// <param name="ct">Ends the wait; others who wait for the same are not concerned.</param>
    /// <exception cref="NpgsqlException">The database has to be asked, and is away.</exception>
    /// <exception cref="TimeoutException">It has to be asked, and did not answer a moment ago.</exception>
    public ValueTask<Client?> FindAsync(string id, CancellationToken ct) =>
        (known.TryGetValue(id, out var found) || unknown.TryGetValue(id, out found)) && IsGood(found)
            ? new(found.Client)
            : new(AskAsync(id, ct));

    /// <summary>The same, read now, where the database answers.</summary>
    public Task<Client?> ReadAsync(string id, CancellationToken ct) => AskAsync(id, ct);

    public void Dispose()
    {
        subscription.Dispose();
        mayRead.Dispose();
    }

    private bool IsGood(Known found) =>
        clock.GetElapsedTime(found.ReadAt) < (notifications.IsHearing ? GoodWhileHearing : GoodWhileDeaf);

    private async Task<Client?> AskAsync(string id, CancellationToken ct)
    {
        var isAway = Volatile.Read(ref awayAt) != NotAway;
        if (isAway && !IsTimeToAskAgain())
            return Remembered(id) ?? throw new TimeoutException("The database did not answer a moment ago.");

        var read = JoinReadAsync(id);
        // Whoever need not wait for a database that is probably still away does not.
        if (isAway && Remembered(id) is { } client)
            return client;
        try
        {
            return await read.WaitAsync(ct);
        }
        catch (Exception e) when (DatabaseAway.IsTheCauseOf(e) && Remembered(id) is { } last)
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
    private Client? Remembered(string id) =>
        known.TryGetValue(id, out var found) && Shorter(notifications.SilentFor, clock.GetElapsedTime(found.ReadAt)) < serveWhileAway
            ? found.Client
            : null;

    // Of many who need one client, one asks; who comes after news of it starts another.
    private Task<Client?> JoinReadAsync(string id)
    {
        Lazy<Task<Client?>> own = null!;
        own = new(() => LoadAsync(id, ended: () => reads.TryRemove(new(id, own))));
        return reads.GetOrAdd(id, own).Value;
    }

    private async Task<Client?> LoadAsync(string id, Action ended)
    {
        if (!await MayReadAsync())
        {
            ended();
            throw new TimeoutException("Too many others are asking the database.");
        }

        using var timeout = new QuietCancellation(ReadTimeout, clock);
        var (readAt, newsThen) = (clock.GetTimestamp(), Volatile.Read(ref news));
        try
        {
            // A connection that is dead may not even notice that it is given up.
            var client = await store.FindAsync(id, timeout.Token).WaitAsync(timeout.Token);
            Volatile.Write(ref answeredAt, readAt);
            if (Interlocked.Exchange(ref awayAt, NotAway) != NotAway)
                Log.Back(logger);
            Keep(id, new Known(client, readAt), newsThen);
            return client;
        }
        catch (Exception e) when (e is OperationCanceledException || DatabaseAway.IsTheCauseOf(e))
        {
            if (Interlocked.Exchange(ref awayAt, clock.GetTimestamp()) == NotAway)
                Log.Away(logger, e, serveWhileAway);
            if (e is OperationCanceledException)
                throw new TimeoutException("The database did not answer in time.", e);
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
            if (Interlocked.Increment(ref waiting) > MostWaiting)
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
            if (found.Client is null)
                known.TryRemove(id, out _);
            if (news == newsThen)
                Keep(found.Client is null ? unknown : known, found.Client is null ? mostUnknown : mostClients, id, found);
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

    private void Forget(string? id)
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

    private static TimeSpan Shorter(TimeSpan a, TimeSpan b) => a < b ? a : b;

    /// <param name="Client">As it was; null: there was none.</param>
    /// <param name="ReadAt">Before it was read.</param>
    private sealed record Known(Client? Client, long ReadAt);

    private static partial class Log
    {
        [LoggerMessage(1, LogLevel.Warning, "The database does not answer; known clients are served as they were, for {ServeWhileAway}")]
        public static partial void Away(ILogger logger, Exception e, TimeSpan serveWhileAway);

        [LoggerMessage(2, LogLevel.Information, "The database answers again")]
        public static partial void Back(ILogger logger);
    }
}
