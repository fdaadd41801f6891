using System.Collections.Concurrent;

namespace TokenService.Postgres;

/// <summary>
/// Runs one statement for all items that are waiting at the same time: rows to read by id, or rows to insert. A single item
/// is sent at once. While as many statements run as may, further items wait, and the next statement takes all of them. So
/// a flood of items, or the thousands of clients that come back after a restart, cost few statements and few connections.
/// </summary>
/// <param name="run">Runs the statement for some items, and returns an answer for each of them, in the same order.</param>
/// <param name="gate">Knows whether the database is available.</param>
/// <param name="clock">Measures the wait.</param>
internal sealed class StatementBatches<TItem, TAnswer>(
    Func<IReadOnlyList<TItem>, CancellationToken, Task<IReadOnlyList<TAnswer>>> run, DatabaseGate gate, TimeProvider clock)
{
    // A pool has 100 connections unless the connection string says otherwise. The client cache, the token cache, the used
    // assertions and the revocations together take at most 22 of them (2 + 2 + 2 + 16).
    // Measured: with more statements at once, each of them has fewer ids, and 10,000 clients are read more slowly.
    private const int MaxStatements = 2;

    private const int MaxBatchSize = 100;

    // One more is refused at once. It is as many as there may be requests in flight, by default: after a restart each of
    // them may need another client.
    private const int MaxWaiting = 4096;

    private readonly ConcurrentQueue<Waiting> waiting = new();
    private int waitingCount;
    private int runningCount;

    /// <param name="item">The id to read, or the row to insert.</param>
    /// <param name="isProbe">True: it is sent although the database is unavailable, to see whether it still is.</param>
    /// <exception cref="DatabaseSlowException">Too many items wait, or this one waited for too long.</exception>
    public Task<TAnswer> RunAsync(TItem item, bool isProbe)
    {
        if (Interlocked.Increment(ref waitingCount) > MaxWaiting)
        {
            Interlocked.Decrement(ref waitingCount);
            throw new DatabaseSlowException();
        }

        var queued = new Waiting(item, isProbe, clock.GetTimestamp());
        waiting.Enqueue(queued);
        if (TryStart())
            _ = RunAsync();
        return queued.Answer.Task;
    }

    private bool TryStart()
    {
        if (Interlocked.Increment(ref runningCount) <= MaxStatements)
            return true;
        Interlocked.Decrement(ref runningCount);
        return false;
    }

    // Runs until nothing waits. An item that is queued when the last statement has just found nothing starts another one.
    private async Task RunAsync()
    {
        do
        {
            while (Take() is { Count: > 0 } batch)
                await RunAsync(batch);
            Interlocked.Decrement(ref runningCount);
        }
        while (!waiting.IsEmpty && TryStart());
    }

    private List<Waiting> Take()
    {
        List<Waiting> batch = [];
        while (batch.Count < MaxBatchSize && waiting.TryDequeue(out var next))
        {
            Interlocked.Decrement(ref waitingCount);
            if (clock.GetElapsedTime(next.QueuedAt) > DatabaseGate.MaxWait)
                next.Answer.TrySetException(new DatabaseSlowException());
            else if (gate.IsLost && !next.IsProbe)
                next.Answer.TrySetException(new TimeoutException("The database did not answer a moment ago."));
            else
                batch.Add(next);
        }

        return batch;
    }

    private async Task RunAsync(List<Waiting> batch)
    {
        try
        {
            var items = batch.ConvertAll(waiting => waiting.Item);
            var answers = await gate.AskAsync(ct => run(items, ct));
            foreach (var (waiting, answer) in batch.Zip(answers))
                waiting.Answer.TrySetResult(answer);
        }
        // An item that the database refuses must not keep the others from being served.
        catch (Exception e) when (batch.Count > 1 && !DatabaseUnavailable.IsTheCauseOf(e))
        {
            foreach (var waiting in batch)
                await RunAsync([waiting]);
        }
        catch (Exception e)
        {
            foreach (var waiting in batch)
                waiting.Answer.TrySetException(e);
        }
    }

    private sealed record Waiting(TItem Item, bool IsProbe, long QueuedAt)
    {
        public TaskCompletionSource<TAnswer> Answer { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
    }
}
