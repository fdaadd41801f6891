using Microsoft.Extensions.Options;
using Npgsql;
using TokenService.Caching;
using TokenService.Postgres;
using TokenService.Telemetry;

namespace TokenService.Clients;

/// <summary>Keeps clients in memory, as the database has them. A request looks here first.</summary>
internal sealed class ClientCache : IDisposable
{
    private readonly DatabaseCache<Client> clients;

    public ClientCache(
        ClientStore store,
        ChangeNotifications notifications,
        IOptions<ClientCacheOptions> options,
        Metrics metrics,
        TimeProvider clock,
        ILogger<ClientCache> logger)
    {
        var cacheOptions = new CacheOptions("client", options.Value.ServeWhileAway, options.Value.MaxClients, options.Value.MaxUnknown);
        clients = new DatabaseCache<Client>(cacheOptions, store.FindAsync, notifications, clock, logger);
        metrics.ObserveClients(() => Age.TotalSeconds);
    }

    /// <summary>
    /// How old the served clients may be: zero while notifications arrive, otherwise the time since the database last
    /// answered.
    /// </summary>
    public TimeSpan Age => clients.Age;

    /// <summary>True while the database is unavailable: what is known of clients may be old.</summary>
    public bool IsDatabaseLost => clients.IsDatabaseLost;

    /// <summary>True when a client with this id was read, and has not changed since. Reads nothing.</summary>
    public bool IsKnown(string id) => clients.IsKnown(id);

    /// <summary>The client, or null when no client has that id.</summary>
    /// <param name="id">The client_id.</param>
    /// <param name="ct">Ends this caller's wait; others who wait for the same client go on.</param>
    /// <exception cref="NpgsqlException">The database has to be asked, and is unavailable.</exception>
    /// <exception cref="TimeoutException">The database has to be asked, and did not answer a moment ago.</exception>
    public ValueTask<Client?> FindAsync(string id, CancellationToken ct) => clients.FindAsync(id, ct);

    /// <summary>The same as <see cref="FindAsync(string, CancellationToken)"/>.</summary>
    /// <param name="isCached">True when the client comes from the cache, false when it is read now.</param>
    public ValueTask<Client?> FindAsync(string id, out bool isCached, CancellationToken ct) => clients.FindAsync(id, out isCached, ct);

    /// <summary>The same, read now if the database answers.</summary>
    public Task<Client?> ReadAsync(string id, CancellationToken ct) => clients.ReadAsync(id, ct);

    public void Dispose() => clients.Dispose();
}
