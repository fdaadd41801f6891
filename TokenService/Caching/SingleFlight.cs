using System.Collections.Concurrent;

namespace TokenService.Caching;

/// <summary>
/// Lets callers who need the same thing at the same time share one piece of work: the first starts it, the others wait for its
/// outcome. It keeps nothing once the work has ended.
/// </summary>
internal sealed class SingleFlight<TKey, TResult>
    where TKey : notnull
{
    private readonly ConcurrentDictionary<TKey, TaskCompletionSource<TResult>> running = new();

    /// <summary>Joins the work that runs for this key; null: none does.</summary>
    public Task<TResult>? Find(TKey key) => running.TryGetValue(key, out var work) ? work.Task : null;

    /// <summary>Joins the work that runs for this key, or starts it.</summary>
    /// <param name="key">What is needed.</param>
    /// <param name="start">Starts the work. Its exception reaches everybody who waits.</param>
    /// <param name="isOwn">True when this call started it.</param>
    public Task<TResult> RunAsync(TKey key, Func<Task<TResult>> start, out bool isOwn)
    {
        var own = new TaskCompletionSource<TResult>(TaskCreationOptions.RunContinuationsAsynchronously);
        var work = running.GetOrAdd(key, own);
        isOwn = ReferenceEquals(work, own);
        if (isOwn)
            _ = StartAsync(key, own, start);
        return work.Task;
    }

    /// <summary>Lets the next caller start anew; those who wait still get the outcome of what runs.</summary>
    public void Forget(TKey key) => running.TryRemove(key, out _);

    /// <summary>The same for every key.</summary>
    public void Clear() => running.Clear();

    private async Task StartAsync(TKey key, TaskCompletionSource<TResult> own, Func<Task<TResult>> start)
    {
        // Removed before anybody hears the outcome, so that a caller who comes after it starts anew.
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
