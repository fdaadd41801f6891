using System.Collections.Concurrent;
using Npgsql;
using TokenService.Postgres;

namespace TokenService.Clients;

/// <summary>
/// Clients in memory, as the database has them. While notifications are heard, what was read is good until one names it; while they are
/// not, it is good for a second. So what the database withdraws, this replica withdraws at once, or, if the link is lost without a word,
/// within <see cref="Notifications.DeafAfter"/> of that.
/// </summary>
internal sealed class ClientCache : IDisposable
{
    // More than most have; a client takes one to two kilobytes.
    private const int MostClients = 20_000;

    private static readonly TimeSpan GoodWhileDeaf = TimeSpan.FromSeconds(1);

    // Should a trigger be missing, as after a restore gone wrong, there is an end to what that can do.
    private static readonly TimeSpan GoodWhileHearing = TimeSpan.FromMinutes(1);

    private readonly ClientStore store;
    private readonly Notifications notifications;
    private readonly TimeProvider clock;
    private readonly IDisposable subscription;

    private readonly ConcurrentDictionary<string, Known> known = new(StringComparer.Ordinal);

    // Of many requests that need one client, one asks the database.
    private readonly ConcurrentDictionary<string, Lazy<Task<Client?>>> reads = new(StringComparer.Ordinal);

    // Held for a moment where something is put in or taken out, never where it is looked up.
    private readonly Lock gate = new();

    // Counts the notifications, so that what was read before one is not kept after it.
    private long news;

    public ClientCache(ClientStore store, Notifications notifications, TimeProvider clock)
    {
        (this.store, this.notifications, this.clock) = (store, notifications, clock);
        subscription = notifications.Subscribe("client", Forget);
    }

    /// <summary>The client, or null when there is none of that id.</summary>
    /// <param name="id">The client_id.</param>
    /// <param name="ct">Ends the wait; others who wait for the same are not concerned.</param>
    /// <exception cref="NpgsqlException">The database has to be asked, and is away.</exception>
    public ValueTask<Client?> FindAsync(string id, CancellationToken ct) =>
        known.TryGetValue(id, out var found) && IsGood(found) ? new(found.Client) : new(ReadAsync(id).WaitAsync(ct));

    public void Dispose() => subscription.Dispose();

    private bool IsGood(Known found) =>
        clock.GetElapsedTime(found.ReadAt) < (notifications.IsHearing ? GoodWhileHearing : GoodWhileDeaf);

    private Task<Client?> ReadAsync(string id) =>
        reads.GetOrAdd(id, static (id, cache) => new(() => cache.LoadAsync(id)), this).Value;

    private async Task<Client?> LoadAsync(string id)
    {
        var (readAt, newsThen) = (clock.GetTimestamp(), Volatile.Read(ref news));
        try
        {
            var client = await store.FindAsync(id, CancellationToken.None);
            Keep(id, client, readAt, newsThen);
            return client;
        }
        finally
        {
            reads.TryRemove(id, out _);
        }
    }

    private void Keep(string id, Client? client, long readAt, long newsThen)
    {
        lock (gate)
        {
            if (client is null)
                known.TryRemove(id, out _);
            else if (news == newsThen)
                known[id] = new Known(client, readAt);

            // Any will do: whoever comes back is read again.
            if (known.Count > MostClients)
            {
                foreach (var other in known.Take(MostClients / 8))
                    known.TryRemove(other);
            }
        }
    }

    private void Forget(string? id)
    {
        lock (gate)
        {
            news++;
            if (id is null)
            {
                known.Clear();
                reads.Clear();
                return;
            }

            known.TryRemove(id, out _);
            // A read that has begun may not see the change: whoever comes now starts another.
            reads.TryRemove(id, out _);
        }
    }

    /// <param name="Client">As it was.</param>
    /// <param name="ReadAt">Before it was read.</param>
    private sealed record Known(Client Client, long ReadAt);
}
