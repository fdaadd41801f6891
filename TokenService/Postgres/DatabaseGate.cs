namespace TokenService.Postgres;

/// <summary>
/// Stands before questions to the database that requests wait for. Each question has a time limit. After one that failed, one
/// caller a second may ask again, as a probe; the others are told at once that the database is unavailable.
/// </summary>
/// <param name="clock">Measures the limit and the time between probes.</param>
/// <param name="lost">Called when a question fails after one that did not.</param>
/// <param name="restored">Called when a question is answered after one that failed.</param>
internal sealed class DatabaseGate(TimeProvider clock, Action<Exception>? lost = null, Action? restored = null)
{
    /// <summary>A database that takes longer for a question is as good as unavailable.</summary>
    public static readonly TimeSpan QuestionTimeout = TimeSpan.FromSeconds(1);

    private static readonly TimeSpan ProbeInterval = TimeSpan.FromSeconds(1);

    private const long NotLost = 0;

    // When the last question that was answered was asked.
    private long answeredAt = clock.GetTimestamp();

    // When the last question that failed did so, or when a probe was last let through; NotLost: the last one was answered.
    private long lostAt = NotLost;

    /// <summary>True after a question that failed, until one is answered.</summary>
    public bool IsLost => Volatile.Read(ref lostAt) != NotLost;

    /// <summary>How long ago the database was asked the last question that it answered; at first, since the start.</summary>
    public TimeSpan SinceAnswer => clock.GetElapsedTime(Volatile.Read(ref answeredAt));

    /// <summary>False: the database is unavailable, and another caller probes it. True: ask.</summary>
    public bool TryEnter()
    {
        var at = Volatile.Read(ref lostAt);
        return at == NotLost
            || (clock.GetElapsedTime(at) >= ProbeInterval && Interlocked.CompareExchange(ref lostAt, Now(), at) == at);
    }

    /// <summary>Somebody else has shown that the database is there: the next caller asks.</summary>
    public void Reset() => Volatile.Write(ref lostAt, NotLost);

    /// <summary>Asks, whether or not the database was there a moment ago.</summary>
    /// <exception cref="TimeoutException">It took longer than <see cref="QuestionTimeout"/>.</exception>
    public async Task<T> AskAsync<T>(Func<CancellationToken, Task<T>> question)
    {
        var askedAt = Now();
        try
        {
            var answer = await InTimeAsync(QuestionTimeout, clock, question);
            Volatile.Write(ref answeredAt, askedAt);
            if (Interlocked.Exchange(ref lostAt, NotLost) != NotLost)
                restored?.Invoke();
            return answer;
        }
        catch (Exception e) when (DatabaseUnavailable.IsTheCauseOf(e))
        {
            if (Interlocked.Exchange(ref lostAt, Now()) == NotLost)
                lost?.Invoke(e);
            throw;
        }
    }

    /// <summary>Gives up a question that takes too long.</summary>
    /// <exception cref="TimeoutException">It took longer.</exception>
    public static async Task<T> InTimeAsync<T>(TimeSpan limit, TimeProvider clock, Func<CancellationToken, Task<T>> question)
    {
        using var timeout = new QuietCancellation(limit, clock);
        try
        {
            // A connection that is dead may not even notice that its question is cancelled.
            return await question(timeout.Token).WaitAsync(timeout.Token);
        }
        catch (OperationCanceledException e)
        {
            throw new TimeoutException("The database did not answer in time.", e);
        }
    }

    // Never NotLost, whatever a clock says.
    private long Now() => Math.Max(clock.GetTimestamp(), NotLost + 1);
}
