using System.Collections.Concurrent;

namespace TokenService.Caching;

/// <summary>
/// Lets callers that need the same result at the same time share one task: the first caller starts it, the others wait
/// for its result. Nothing is kept after the task has ended, so this is not a cache.
/// </summary>
internal sealed class SingleFlight<TKey, TResult>
    where TKey : notnull
{
    private readonly ConcurrentDictionary<TKey, TaskCompletionSource<TResult>> running = new();

    /// <summary>The task that runs for this key; null: none does.</summary>
    public Task<TResult>? Find(TKey key) => running.TryGetValue(key, out var work) ? work.Task : null;

    /// <summary>The task that runs for this key. If none does, it is started.</summary>
    /// <param name="key">Equal keys share one task.</param>
    /// <param name="start">Starts the task. Its exception reaches every caller that waits.</param>
    /// <param name="isOwn">True when this call started the task.</param>
    public Task<TResult> RunAsync(TKey key, Func<Task<TResult>> start, out bool isOwn)
    {
        var own = new TaskCompletionSource<TResult>(TaskCreationOptions.RunContinuationsAsynchronously);
        var work = running.GetOrAdd(key, own);
        isOwn = ReferenceEquals(work, own);
        if (isOwn)
            _ = StartAsync(key, own, start);
        return work.Task;
    }

    /// <summary>
    /// Makes the next caller start a new task. Callers that wait already get the result of the running one.
    /// </summary>
    public void Forget(TKey key) => running.TryRemove(key, out _);

    /// <summary>The same as <see cref="Forget"/>, for every key.</summary>
    public void Clear() => running.Clear();

    private async Task StartAsync(TKey key, TaskCompletionSource<TResult> own, Func<Task<TResult>> start)
    {
        // The task is removed before its result is set, so that a caller that comes after the result starts a new task.
        try
        {
            var result = await start();
            running.TryRemove(new(key, own));
            own.SetResult(result);
        }
        catch (Exception e)
        {
            running.TryRemove(new(key, own));
            own.SetException(e);
        }
    }
}
