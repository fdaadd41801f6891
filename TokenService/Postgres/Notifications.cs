using Npgsql;

namespace TokenService.Postgres;

/// <summary>
/// Hears what triggers NOTIFY: the name of a table that changed. A hint to look sooner, never the only way to learn: notifications
/// are lost while the connection is, so whoever subscribes also polls, and is called when hearing comes back.
/// </summary>
internal sealed partial class Notifications(NpgsqlDataSource postgres, TimeProvider clock, ILogger<Notifications> logger) : BackgroundService
{
    private static readonly TimeSpan RetryAfter = TimeSpan.FromSeconds(1);

    private readonly Lock gate = new();
    private readonly List<(string Table, Action Changed)> subscribers = [];

    /// <param name="table">The table whose changes matter.</param>
    /// <param name="changed">Called at each; returns at once.</param>
    /// <returns>Ends the subscription.</returns>
    public IDisposable Subscribe(string table, Action changed)
    {
        lock (gate)
            subscribers.Add((table, changed));
        return new Subscription(() =>
        {
            lock (gate)
                subscribers.Remove((table, changed));
        });
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        while (!stoppingToken.IsCancellationRequested)
        {
            try
            {
                await ListenAsync(stoppingToken);
            }
            // Whatever it is: those who subscribe poll too.
            catch (Exception e) when (!stoppingToken.IsCancellationRequested)
            {
                Log.Deaf(logger, e.Message);
            }

            await Task.Delay(RetryAfter, clock, stoppingToken);
        }
    }

    private async Task ListenAsync(CancellationToken ct)
    {
        await using var connection = await postgres.OpenConnectionAsync(ct);
        connection.Notification += (_, heard) => Call(table => table == heard.Payload);
        await using (var listen = new NpgsqlCommand("listen token_service", connection))
            await listen.ExecuteNonQueryAsync(ct);

        // Whatever changed while nobody listened.
        Call(_ => true);
        while (true)
            await connection.WaitAsync(ct);
    }

    private void Call(Func<string, bool> concerns)
    {
        lock (gate)
        {
            foreach (var (table, changed) in subscribers)
            {
                if (concerns(table))
                    changed();
            }
        }
    }

    private sealed class Subscription(Action end) : IDisposable
    {
        public void Dispose() => end();
    }

    private static partial class Log
    {
        [LoggerMessage(1, LogLevel.Warning, "Not listening for changes, polling instead: {Reason}")]
        public static partial void Deaf(ILogger logger, string reason);
    }
}
