namespace TokenService.Proofs;

/// <summary>The state of an id in a <see cref="ReplayMemory"/> to which it was added.</summary>
internal enum Remembered
{
    /// <summary>The id is new, and is remembered from now on.</summary>
    New,

    /// <summary>The id was used before.</summary>
    Used,

    /// <summary>The memory is full. Whether the id was used before is not known.</summary>
    Full,
}

/// <summary>
/// Remembers ids that were used, for a time and up to a number. There are two generations: after the time the younger one
/// becomes the older one, and the older one is forgotten. So an id is remembered for one to two times the time.
/// </summary>
/// <param name="maxCount">The most ids of both generations; each takes about 60 bytes.</param>
/// <param name="time">The shortest time for which an id is remembered.</param>
/// <param name="clock">Measures the time.</param>
internal sealed class ReplayMemory(int maxCount, TimeSpan time, TimeProvider clock)
{
    private readonly Lock generationsLock = new();
    private HashSet<IdHash> younger = [];
    private HashSet<IdHash> older = [];
    private long youngerSince = clock.GetTimestamp();

    public Remembered TryAdd(IdHash id)
    {
        lock (generationsLock)
        {
            Age();
            if (younger.Contains(id) || older.Contains(id))
                return Remembered.Used;
            if (younger.Count + older.Count >= maxCount)
                return Remembered.Full;
            younger.Add(id);
            return Remembered.New;
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

    private void Age()
    {
        var age = clock.GetElapsedTime(youngerSince);
        if (age < time)
            return;
        // A set keeps the memory of its greatest count, so each generation is a new one.
        older = age < 2 * time ? younger : [];
        younger = [];
        youngerSince = clock.GetTimestamp();
    }
}
