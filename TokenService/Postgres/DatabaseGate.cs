using Npgsql;

namespace TokenService.Postgres;

/// <summary>The database answers other queries, but not this one in time.</summary>
internal sealed class DatabaseSlowException() : TimeoutException("The database is too slow.");

/// <summary>
/// Guards the queries that requests wait for. Each query has a time limit. After a query failed because the database is
/// unavailable, one caller a second may query again, as a probe; the other callers are refused at once. A database that
/// is only slow, or looks slow because this machine is, is not unavailable: callers wait longer for it.
/// </summary>
/// <param name="notifications">The heartbeat shows whether the database answers anything.</param>
/// <param name="clock">Measures the limit and the time between probes.</param>
/// <param name="lost">Called when a query fails and the one before it did not.</param>
/// <param name="restored">Called when a query succeeds and the one before it failed.</param>
internal sealed class DatabaseGate(
    ChangeNotifications notifications, TimeProvider clock, Action<Exception>? lost = null, Action? restored = null)
{
    /// <summary>
    /// A query that takes longer counts as failed, if the database has answered nothing else for
    /// <see cref="ChangeNotifications.MaxSilence"/>.
    /// </summary>
    public static readonly TimeSpan QueryTimeout = TimeSpan.FromSeconds(1);

    /// <summary>How long a request waits for a database that is slow.</summary>
    public static readonly TimeSpan MaxWait = TimeSpan.FromSeconds(5);

    private static readonly TimeSpan ProbeInterval = TimeSpan.FromSeconds(1);

    private const long NotLost = 0;

    // The start of the last query that succeeded.
    private long answeredAt = clock.GetTimestamp();

    // The time at which the last query failed or the last probe started; NotLost: the last query succeeded.
    private long lostAt = NotLost;

    /// <summary>True from a query that failed until one succeeds.</summary>
    public bool IsLost => Volatile.Read(ref lostAt) != NotLost;

    /// <summary>The time since the start of the last query that succeeded, or since the server's start.</summary>
    public TimeSpan SinceAnswer => clock.GetElapsedTime(Volatile.Read(ref answeredAt));

    /// <summary>
    /// True: the caller may query. False: the database is unavailable, and it is not time for a probe.
    /// </summary>
    public bool TryEnter()
    {
        var at = Volatile.Read(ref lostAt);
        return at == NotLost
            || (clock.GetElapsedTime(at) >= ProbeInterval && Interlocked.CompareExchange(ref lostAt, Now(), at) == at);
    }

    /// <summary>
    /// Lets the next caller query, because another connection has shown that the database is available.
    /// </summary>
    public void Reset() => Volatile.Write(ref lostAt, NotLost);

    /// <summary>Runs a query, even if the one before it failed. Callers use <see cref="TryEnter"/> first.</summary>
    /// <exception cref="TimeoutException">The database did not answer in time.</exception>
    /// <exception cref="DatabaseSlowException">The database did not answer in time, but answers other queries.</exception>
    public async Task<T> AskAsync<T>(Func<CancellationToken, Task<T>> query)
    {
        var askedAt = Now();
        try
        {
            var answer = await AskAsync(query, askedAt);
            Volatile.Write(ref answeredAt, askedAt);
            if (Interlocked.Exchange(ref lostAt, NotLost) != NotLost)
                restored?.Invoke();
            return answer;
        }
        catch (NpgsqlException e) when (e.InnerException is TimeoutException && !IsSilent)
        {
            throw new DatabaseSlowException();
        }
        catch (Exception e) when (e is not DatabaseSlowException && DatabaseUnavailable.IsTheCauseOf(e))
        {
            if (Interlocked.Exchange(ref lostAt, Now()) == NotLost)
                lost?.Invoke(e);
            throw;
        }
    }

    /// <summary>Runs a query with a time limit.</summary>
    /// <exception cref="TimeoutException">The query took longer.</exception>
    public static async Task<T> InTimeAsync<T>(TimeSpan limit, TimeProvider clock, Func<CancellationToken, Task<T>> query)
    {
        using var timeout = new QuietCancellation(limit, clock);
        try
        {
            // WaitAsync, because on a dead connection even the cancelled query may not return.
            return await query(timeout.Token).WaitAsync(timeout.Token);
        }
        catch (OperationCanceledException e)
        {
            throw new TimeoutException("The database did not answer in time.", e);
        }
    }

    private async Task<T> AskAsync<T>(Func<CancellationToken, Task<T>> query, long askedAt)
    {
        using var cancellation = new QuietCancellation(MaxWait, clock);
        var asking = query(cancellation.Token);
        await WaitAsync(asking);
        while (!asking.IsCompleted && !IsSilent && clock.GetElapsedTime(askedAt) < MaxWait)
            await WaitAsync(asking);
        if (asking is { IsCompleted: true, IsCanceled: false })
            return await asking;

        // On a dead connection even the cancelled query may not return.
        cancellation.Cancel();
        throw IsSilent ? new TimeoutException("The database does not answer.") : new DatabaseSlowException();
    }

    private async Task WaitAsync(Task asking) =>
        await asking.WaitAsync(QueryTimeout, clock).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);

    // True when the database has answered neither the heartbeat nor a query lately.
    private bool IsSilent =>
        notifications.SilentFor >= ChangeNotifications.MaxSilence && SinceAnswer >= ChangeNotifications.MaxSilence;

    // Some clocks start at zero, which is NotLost.
    private long Now() => Math.Max(clock.GetTimestamp(), NotLost + 1);
}
