using System.Collections.Concurrent;
using System.Diagnostics.CodeAnalysis;

namespace TokenService.Caching;

/// <summary>
/// A concurrent dictionary that never grows beyond a bound. When an addition exceeds it, obsolete entries go first; if that is not
/// enough, any eighth of the entries goes. So it is for what can be read, counted or computed again.
/// </summary>
/// <param name="maxCount">How many entries it keeps; 0: none.</param>
/// <param name="isObsolete">Says which entries no longer matter; null: all matter alike.</param>
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

    /// <summary>Adds an entry. False: there is one of that key.</summary>
    public bool TryAdd(TKey key, TValue value)
    {
        if (maxCount == 0 || !entries.TryAdd(key, value))
            return false;
        MakeRoom();
        return true;
    }

    /// <summary>Replaces the value of a key. False: it has another value by now, or none.</summary>
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
