namespace TokenService.Proofs;

/// <summary>
/// Remembers ids that were used, in two generations. After a time, or when it has half of the ids that may be kept, the
/// younger generation becomes the older one, and the older one is forgotten. So an id is remembered for one to two times
/// the time, or for less if there are many; <see cref="IsCompleteSince"/> tells for how long.
/// </summary>
/// <param name="maxCount">The most ids of both generations; each takes about 60 bytes.</param>
/// <param name="time">The time for which an id is remembered, if there are not too many.</param>
/// <param name="clock">Measures the time.</param>
internal sealed class ReplayMemory(int maxCount, TimeSpan time, TimeProvider clock)
{
    private readonly Lock generationsLock = new();
    private HashSet<IdHash> younger = [];
    private HashSet<IdHash> older = [];
    private DateTimeOffset youngerSince = clock.GetUtcNow();
    private DateTimeOffset olderSince = clock.GetUtcNow();
    private long youngerFrom = clock.GetTimestamp();

    /// <summary>Every id that was added from this instant on is remembered. It is not before the start of this replica.</summary>
    public DateTimeOffset IsCompleteSince
    {
        get
        {
            lock (generationsLock)
                return olderSince;
        }
    }

    /// <returns>False: the id was added before, and is remembered.</returns>
    public bool TryAdd(IdHash id)
    {
        lock (generationsLock)
        {
            if (clock.GetElapsedTime(youngerFrom) >= time || younger.Count >= maxCount / 2)
                Age();
            return !older.Contains(id) && younger.Add(id);
        }
    }

    /// <summary>Forgets an id that was not used after all.</summary>
    public void Remove(IdHash id)
    {
        lock (generationsLock)
        {
            younger.Remove(id);
            older.Remove(id);
        }
    }

    // A set keeps the memory of its greatest count, so each generation is a new one.
    private void Age()
    {
        (older, olderSince, younger) = (younger, youngerSince, []);
        (youngerSince, youngerFrom) = (clock.GetUtcNow(), clock.GetTimestamp());
    }
}
