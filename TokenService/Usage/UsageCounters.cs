using System.Collections.Concurrent;
using System.Net;

namespace TokenService.Usage;

/// <summary>
/// Counts how often each secret and scope is used, until the counts are written. Counting takes no lock and loses no use, also while the
/// counts are being read. Its size is bounded by what proved right between two writes.
/// </summary>
internal sealed class UsageCounters(TimeProvider clock)
{
    private readonly ConcurrentDictionary<SecretKey, Counter> secrets = new();
    private readonly ConcurrentDictionary<ScopeKey, Counter> scopes = new();

    /// <param name="secretId">A secret that has just proved right.</param>
    /// <param name="from">Where the request came from.</param>
    public void SecretUsed(string secretId, IPAddress? from) => Add(secrets, new SecretKey(secretId), from);

    /// <param name="clientId">Who was given a token.</param>
    /// <param name="granted">With which scopes.</param>
    public void ScopesUsed(string clientId, IReadOnlyCollection<string> granted)
    {
        foreach (var scope in granted)
            Add(scopes, new ScopeKey(clientId, scope), from: null);
    }

    /// <summary>What has been counted and not been written.</summary>
    public UnwrittenUses Read() => new(Read(secrets), Read(scopes));

    /// <summary>Takes off what has now been written.</summary>
    public void Written(UnwrittenUses uses)
    {
        TakeOff(secrets, uses.Secrets);
        TakeOff(scopes, uses.Scopes);
    }

    private void Add<TKey>(ConcurrentDictionary<TKey, Counter> counters, TKey key, IPAddress? from)
        where TKey : notnull
    {
        var now = clock.GetUtcNow();
        Counter counter;
        // A counter that closed meanwhile takes no more: the next is a new one.
        while (!(counter = counters.GetOrAdd(key, static _ => new Counter())).TryAdd(now, from))
            counters.TryRemove(new(key, counter));
    }

    private static List<Use<TKey>> Read<TKey>(ConcurrentDictionary<TKey, Counter> counters)
        where TKey : notnull
    {
        List<Use<TKey>> uses = [];
        foreach (var (key, counter) in counters)
        {
            if (counter.Read(key) is { } use)
                uses.Add(use);
            else
                counters.TryRemove(new(key, counter));
        }

        return uses;
    }

    private static void TakeOff<TKey>(ConcurrentDictionary<TKey, Counter> counters, IEnumerable<Use<TKey>> written)
        where TKey : notnull
    {
        foreach (var use in written)
        {
            if (counters.TryGetValue(use.Of, out var counter))
                counter.TakeOff(use.Count);
        }
    }

    // Of thousands of clients each has two that live long: an object for each use would be one more for the collector to keep.
    private sealed class Counter
    {
        private const long Closed = long.MinValue;

        private long count;
        private long first = long.MaxValue;
        private long last;
        private IPAddress? lastFrom;

        public bool TryAdd(DateTimeOffset at, IPAddress? from)
        {
            // Before it is counted, so that whoever reads the count finds it. A clock may be set back.
            var ticks = at.UtcTicks;
            Lower(ref first, ticks);
            if (Raise(ref last, ticks) && !ReferenceEquals(lastFrom, from))
                Volatile.Write(ref lastFrom, from);
            return Interlocked.Increment(ref count) > 0;
        }

        /// <returns>Null when nothing was counted since the last write: the counter is closed then.</returns>
        public Use<TKey>? Read<TKey>(TKey key)
            where TKey : notnull
        {
            var counted = Interlocked.CompareExchange(ref count, Closed, 0);
            return counted <= 0
                ? null
                : new Use<TKey>(key, counted, At(ref first), At(ref last), Volatile.Read(ref lastFrom));
        }

        public void TakeOff(long written) => Interlocked.Add(ref count, -written);

        private static DateTimeOffset At(ref long ticks) => new(Volatile.Read(ref ticks), TimeSpan.Zero);

        private static void Lower(ref long value, long to)
        {
            for (var seen = Volatile.Read(ref value); to < seen;)
            {
                var before = Interlocked.CompareExchange(ref value, to, seen);
                if (before == seen)
                    return;
                seen = before;
            }
        }

        // False where another was later. Of two at the same moment either's address may stay.
        private static bool Raise(ref long value, long to)
        {
            for (var seen = Volatile.Read(ref value); to >= seen;)
            {
                var before = Interlocked.CompareExchange(ref value, to, seen);
                if (before == seen)
                    return true;
                seen = before;
            }

            return false;
        }
    }
}

internal readonly record struct SecretKey(string SecretId);

internal readonly record struct ScopeKey(string ClientId, string Scope);

/// <summary>Uses of one secret, or of one scope by one client.</summary>
/// <param name="Of">Of which.</param>
/// <param name="Count">How many; at least 1.</param>
/// <param name="FirstAt">When the first was.</param>
/// <param name="LastAt">When the last was.</param>
/// <param name="LastFrom">Where the last came from; null for a scope.</param>
internal sealed record Use<TKey>(TKey Of, long Count, DateTimeOffset FirstAt, DateTimeOffset LastAt, IPAddress? LastFrom);

/// <summary>What has been counted and not been written.</summary>
internal sealed record UnwrittenUses(IReadOnlyList<Use<SecretKey>> Secrets, IReadOnlyList<Use<ScopeKey>> Scopes)
{
    public bool IsEmpty => Secrets.Count == 0 && Scopes.Count == 0;
}
