using System.Collections.Concurrent;
using System.Net;
using TokenService.Protocol;

namespace TokenService.Usage;

/// <summary>
/// Counts how often each credential and each scope is used, until the counts are written. Counting takes no lock and
/// loses no use, even while the counts are being read. There are at most as many counters as credentials are verified
/// and scopes granted between two writes.
/// </summary>
internal sealed class UsageCounters(TimeProvider clock)
{
    private readonly ConcurrentDictionary<CredentialId, Counter> credentials = new();
    private readonly ConcurrentDictionary<ScopeKey, Counter> scopes = new();

    /// <param name="credential">A credential that has just been verified with success.</param>
    /// <param name="from">The IP address that the request came from; null: unknown.</param>
    public void CredentialUsed(CredentialId credential, IPAddress? from) => Add(credentials, credential, from);

    /// <param name="clientId">The client that was given a token.</param>
    /// <param name="resourceId">The resource that the token is for.</param>
    /// <param name="granted">The scopes of the token.</param>
    public void ScopesUsed(string clientId, string resourceId, IReadOnlyCollection<string> granted)
    {
        foreach (var scope in granted)
            Add(scopes, new ScopeKey(clientId, resourceId, scope), from: null);
    }

    /// <summary>The counts that are not yet written.</summary>
    public UnwrittenUsage Read() => new(Read(credentials), Read(scopes));

    /// <summary>Subtracts counts that have now been written.</summary>
    public void Written(UnwrittenUsage usage)
    {
        Subtract(credentials, usage.Credentials);
        Subtract(scopes, usage.Scopes);
    }

    private void Add<TKey>(ConcurrentDictionary<TKey, Counter> counters, TKey key, IPAddress? from)
        where TKey : notnull
    {
        var now = clock.GetUtcNow();
        Counter counter;
        // A counter that was closed meanwhile counts nothing, and a new one takes its place.
        while (!(counter = counters.GetOrAdd(key, static _ => new Counter())).TryAdd(now, from))
            counters.TryRemove(new(key, counter));
    }

    private static List<UsageCount<TKey>> Read<TKey>(ConcurrentDictionary<TKey, Counter> counters)
        where TKey : notnull
    {
        List<UsageCount<TKey>> counts = [];
        foreach (var (key, counter) in counters)
        {
            if (counter.Read(key) is { } count)
                counts.Add(count);
            else
                counters.TryRemove(new(key, counter));
        }

        return counts;
    }

    private static void Subtract<TKey>(ConcurrentDictionary<TKey, Counter> counters, IEnumerable<UsageCount<TKey>> written)
        where TKey : notnull
    {
        foreach (var count in written)
        {
            if (counters.TryGetValue(count.Key, out var counter))
                counter.Subtract(count.Count);
        }
    }

    // Each of thousands of clients has two counters, which live long. So a counter is one object, and counting a use
    // allocates nothing.
    private sealed class Counter
    {
        private const long Closed = long.MinValue;

        private long count;
        private long first = long.MaxValue;
        private long last;
        private IPAddress? lastFrom;

        public bool TryAdd(DateTimeOffset at, IPAddress? from)
        {
            // The dates are set before the count, so that a reader of the count finds them. Both are compared, because
            // the clock may have been set back.
            var ticks = at.UtcTicks;
            Lower(ref first, ticks);
            if (Raise(ref last, ticks) && !ReferenceEquals(lastFrom, from))
                Volatile.Write(ref lastFrom, from);
            return Interlocked.Increment(ref count) > 0;
        }

        /// <returns>Null when nothing was counted since the last write: the counter is closed then.</returns>
        public UsageCount<TKey>? Read<TKey>(TKey key)
            where TKey : notnull
        {
            var counted = Interlocked.CompareExchange(ref count, Closed, 0);
            return counted <= 0
                ? null
                : new UsageCount<TKey>(key, counted, At(ref first), At(ref last), Volatile.Read(ref lastFrom));
        }

        public void Subtract(long written) => Interlocked.Add(ref count, -written);

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

        // False when another use was later. When two uses have the same instant, the address of either may stay.
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

internal readonly record struct ScopeKey(string ClientId, string ResourceId, string Scope);

/// <summary>How often one credential was used, or one scope by one client.</summary>
/// <param name="Count">At least 1.</param>
/// <param name="LastFrom">The address of the last request; null for a scope.</param>
internal sealed record UsageCount<TKey>(TKey Key, long Count, DateTimeOffset FirstAt, DateTimeOffset LastAt, IPAddress? LastFrom);

/// <summary>The counts that are not yet written.</summary>
internal sealed record UnwrittenUsage(IReadOnlyList<UsageCount<CredentialId>> Credentials, IReadOnlyList<UsageCount<ScopeKey>> Scopes)
{
    public bool IsEmpty => Credentials.Count == 0 && Scopes.Count == 0;
}
