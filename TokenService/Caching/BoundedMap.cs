using System.Collections.Concurrent;
using System.Diagnostics.CodeAnalysis;

namespace TokenService.Caching;

/// <summary>
/// A concurrent dictionary with a maximum number of entries. When it is full, an addition first removes obsolete
/// entries; if too many remain, it removes arbitrary entries until seven eighths of the maximum are left. The map is
/// only for values that can be computed again, or read again from the database, or whose loss does no harm.
/// </summary>
/// <param name="maxCount">The maximum; 0: nothing is kept.</param>
/// <param name="obsolete">
/// Called when the map is full; returns a condition that is true for entries that have no effect any more. Null: every
/// entry has an effect.
/// </param>
internal sealed class BoundedMap<TKey, TValue>(int maxCount, Func<Func<TValue, bool>>? obsolete = null)
    where TKey : notnull
{
    private readonly ConcurrentDictionary<TKey, TValue> entries = new();

    public bool TryGetValue(TKey key, [MaybeNullWhen(false)] out TValue value) => entries.TryGetValue(key, out value);

    /// <summary>Adds an entry, or replaces the one of the same key.</summary>
    public void Set(TKey key, TValue value)
    {
        if (maxCount == 0)
            return;
        MakeRoomFor(key);
        entries[key] = value;
    }

    /// <summary>Adds an entry. False: the key has a value already, or nothing is kept.</summary>
    public bool TryAdd(TKey key, TValue value)
    {
        if (maxCount == 0)
            return false;
        MakeRoomFor(key);
        return entries.TryAdd(key, value);
    }

    /// <summary>Replaces the value of a key. False: the key has another value, or none.</summary>
    public bool TryUpdate(TKey key, TValue value, TValue expected) => entries.TryUpdate(key, value, expected);

    public void Remove(TKey key) => entries.TryRemove(key, out _);

    public void Clear() => entries.Clear();

    // Threads that add at the same moment may exceed the maximum by as many entries as there are threads.
    private void MakeRoomFor(TKey key)
    {
        if (entries.Count < maxCount || entries.ContainsKey(key))
            return;

        if (obsolete?.Invoke() is { } isObsolete)
        {
            foreach (var entry in entries.Where(entry => isObsolete(entry.Value)))
                entries.TryRemove(entry);
        }

        foreach (var entry in entries.Take(entries.Count - (maxCount * 7 / 8)))
            entries.TryRemove(entry);
    }
}
