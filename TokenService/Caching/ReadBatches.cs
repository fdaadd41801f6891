using System.Collections.Concurrent;
using TokenService.Postgres;

namespace TokenService.Caching;

/// <summary>
/// Reads rows by id, those that are wanted at the same time in one query. A single read starts at once. While as many
/// queries run as may, further ids wait, and the next query takes all of them. So a flood of ids, or the thousands of
/// clients that come back after a restart, cost few queries and few connections.
/// </summary>
/// <param name="find">Reads values by id. Ids that the database does not have are left out.</param>
/// <param name="gate">Knows whether the database is available.</param>
/// <param name="clock">Measures the wait.</param>
internal sealed class ReadBatches<TValue>(
    Func<IReadOnlyCollection<string>, CancellationToken, Task<IReadOnlyDictionary<string, TValue>>> find,
    DatabaseGate gate,
    TimeProvider clock)
    where TValue : class
{
    // A pool has 100 connections unless the connection string says otherwise. The client cache, the token cache and the
    // revocations together take at most 20 of them (2 + 2 + 16).
    // Measured: with more queries at once, each of them has fewer ids, and 10,000 clients are read more slowly.
    private const int MaxQueries = 2;

    private const int MaxBatchSize = 100;

    // One more is refused at once. It is as many as there may be requests in flight, by default: after a restart each of
    // them may need another client.
    private const int MaxWaiting = 4096;

    private readonly ConcurrentQueue<Read> waiting = new();
    private int waitingCount;
    private int queryCount;

    /// <summary>Reads one value.</summary>
    /// <param name="id">The id.</param>
    /// <param name="isProbe">True: the value is read although the database is unavailable, to see whether it still is.</param>
    /// <param name="version">Called just before the query.</param>
    /// <returns>
    /// The value, null if the database has no such id; the clock's timestamp and the version just before the query.
    /// </returns>
    /// <exception cref="DatabaseSlowException">Too many reads wait, or this one waited for too long.</exception>
    public Task<(TValue? Value, long ReadAt, long Version)> ReadAsync(string id, bool isProbe, Func<long> version)
    {
        if (Interlocked.Increment(ref waitingCount) > MaxWaiting)
        {
            Interlocked.Decrement(ref waitingCount);
            throw new DatabaseSlowException();
        }

        var read = new Read(id, isProbe, version, clock.GetTimestamp());
        waiting.Enqueue(read);
        if (TryStartQuery())
            _ = RunAsync();
        return read.Answer.Task;
    }

    private bool TryStartQuery()
    {
        if (Interlocked.Increment(ref queryCount) <= MaxQueries)
            return true;
        Interlocked.Decrement(ref queryCount);
        return false;
    }

    // Queries until nothing waits. A read that is queued when the last query has just found nothing starts another one.
    private async Task RunAsync()
    {
        do
        {
            while (Take() is { Count: > 0 } batch)
                await QueryAsync(batch);
            Interlocked.Decrement(ref queryCount);
        }
        while (!waiting.IsEmpty && TryStartQuery());
    }

    private List<Read> Take()
    {
        List<Read> batch = [];
        while (batch.Count < MaxBatchSize && waiting.TryDequeue(out var read))
        {
            Interlocked.Decrement(ref waitingCount);
            if (clock.GetElapsedTime(read.QueuedAt) > DatabaseGate.MaxWait)
                read.Answer.TrySetException(new DatabaseSlowException());
            else if (gate.IsLost && !read.IsProbe)
                read.Answer.TrySetException(new TimeoutException("The database did not answer a moment ago."));
            else
                batch.Add(read);
        }

        return batch;
    }

    private async Task QueryAsync(List<Read> batch)
    {
        try
        {
            var readAt = clock.GetTimestamp();
            var versions = batch.ConvertAll(read => read.Version());
            var ids = batch.Select(read => read.Id).Distinct(StringComparer.Ordinal).ToList();
            var found = await gate.AskAsync(ct => find(ids, ct));
            foreach (var (read, version) in batch.Zip(versions))
                read.Answer.TrySetResult((found.GetValueOrDefault(read.Id), readAt, version));
        }
        // A row that cannot be read must not keep the others from being read.
        catch (Exception e) when (batch.Count > 1 && !DatabaseUnavailable.IsTheCauseOf(e))
        {
            foreach (var read in batch)
                await QueryAsync([read]);
        }
        catch (Exception e)
        {
            foreach (var read in batch)
                read.Answer.TrySetException(e);
        }
    }

    private sealed record Read(string Id, bool IsProbe, Func<long> Version, long QueuedAt)
    {
        public TaskCompletionSource<(TValue? Value, long ReadAt, long Version)> Answer { get; } =
            new(TaskCreationOptions.RunContinuationsAsynchronously);
    }
}
