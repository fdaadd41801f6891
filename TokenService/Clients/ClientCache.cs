using Microsoft.Extensions.Options;
using Npgsql;
using TokenService.Caching;
using TokenService.Postgres;
using TokenService.Telemetry;

namespace TokenService.Clients;

/// <summary>Clients in memory, as the database has them: what a request asks first.</summary>
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

    /// <summary>How old what is served may be: zero while notifications are heard, else the time since the database last answered.</summary>
    public TimeSpan Age => clients.Age;

    /// <summary>The client, or null when there is none of that id.</summary>
    /// <param name="id">The client_id.</param>
    /// <param name="ct">Ends the wait; others who wait for the same are not concerned.</param>
    /// <exception cref="NpgsqlException">The database has to be asked, and is away.</exception>
    /// <exception cref="TimeoutException">It has to be asked, and did not answer a moment ago.</exception>
    public ValueTask<Client?> FindAsync(string id, CancellationToken ct) => clients.FindAsync(id, ct);

    /// <summary>The same, read now, where the database answers.</summary>
    public Task<Client?> ReadAsync(string id, CancellationToken ct) => clients.ReadAsync(id, ct);

    public void Dispose() => clients.Dispose();
}
