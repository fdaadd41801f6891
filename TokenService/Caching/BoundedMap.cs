using System.Collections.Concurrent;
using System.Diagnostics.CodeAnalysis;

namespace TokenService.Caching;

/// <summary>
/// A concurrent dictionary with a maximum number of entries. An addition that exceeds the maximum removes obsolete
/// entries first; if too many remain, it removes arbitrary entries until seven eighths of the maximum are left.
/// The map is only for values that can be computed again, or read again from the database, or whose loss does no harm.
/// </summary>
/// <param name="maxCount">The maximum; 0: nothing is kept.</param>
/// <param name="isObsolete">True for entries that have no effect any more; null: every entry has.</param>
internal sealed class BoundedMap<TKey, TValue>(int maxCount, Func<TValue, bool>? isObsolete = null)
    where TKey : notnull
{
    private readonly ConcurrentDictionary<TKey, TValue> entries = new();

    public bool TryGetValue(TKey key, [MaybeNullWhen(false)] out TValue value) => entries.TryGetValue(key, out value);

    /// <summary>Adds an entry, or replaces the one of the same key.</summary>
    public void Set(TKey key, TValue value)
    {
        if (maxCount == 0)
            return;
        entries[key] = value;
        MakeRoom();
    }

    /// <summary>Adds an entry. False: the key has a value already, or nothing is kept.</summary>
    public bool TryAdd(TKey key, TValue value)
    {
        if (maxCount == 0 || !entries.TryAdd(key, value))
            return false;
        MakeRoom();
        return true;
    }

    /// <summary>Replaces the value of a key. False: the key has another value, or none.</summary>
    public bool TryUpdate(TKey key, TValue value, TValue expected) => entries.TryUpdate(key, value, expected);

    public void Remove(TKey key) => entries.TryRemove(key, out _);

    public void Clear() => entries.Clear();

    private void MakeRoom()
    {
        if (entries.Count <= maxCount)
            return;

        if (isObsolete is not null)
        {
            foreach (var entry in entries.Where(entry => isObsolete(entry.Value)))
                entries.TryRemove(entry);
        }

        foreach (var entry in entries.Take(entries.Count - (maxCount * 7 / 8)))
            entries.TryRemove(entry);
    }
}
