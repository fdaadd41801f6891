using Npgsql;

namespace TokenService.Postgres;

/// <summary>
/// Listens for the notifications that database triggers send when a row changes, and passes them to subscribers.
/// PostgreSQL does not keep notifications for a listener whose connection is lost, and a connection can be dead without
/// an error. A heartbeat query therefore runs over the connection every second; after three seconds without an answer,
/// <see cref="IsListening"/> is false. A pooler in transaction mode would deliver no notification at all, so each
/// connection must first receive one that another connection sent. While this class does not listen, subscribers poll
/// the database; each of them is called once when listening starts again.
/// </summary>
internal sealed partial class ChangeNotifications(
    NpgsqlDataSource postgres, TimeProvider clock, ILogger<ChangeNotifications> logger) : BackgroundService
{
    /// <summary>How old the last answered heartbeat may be.</summary>
    public static readonly TimeSpan MaxSilence = TimeSpan.FromSeconds(3);

    private static readonly TimeSpan HeartbeatInterval = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan RetryAfter = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan GreetingTimeout = TimeSpan.FromSeconds(2);

    // Npgsql takes whole seconds, and then needs up to two more to close the connection.
    private const int HeartbeatTimeoutSeconds = 2;

    private readonly Lock gate = new();
    private readonly List<(string Subject, Action<string?> Changed)> subscribers = [];

    // The time of the last heartbeat that was answered; at first, of the start.
    private long heartbeatAt = clock.GetTimestamp();
    private volatile bool isEstablished;
    private bool isLossLogged;

    /// <summary>True while notifications arrive: the last heartbeat is younger than <see cref="MaxSilence"/>.</summary>
    public bool IsListening => isEstablished && SilentFor < MaxSilence;

    /// <summary>The time since the last heartbeat that was answered, or since the start.</summary>
    public TimeSpan SilentFor => clock.GetElapsedTime(Volatile.Read(ref heartbeatAt));

    /// <param name="subject">The first word of the notifications to receive, such as <c>client</c>.</param>
    /// <param name="changed">
    /// Called for each notification with the id of the row that changed; null: any row may have changed. It must return
    /// at once.
    /// </param>
    /// <returns>Dispose it to end the subscription.</returns>
    public IDisposable Subscribe(string subject, Action<string?> changed)
    {
        lock (gate)
            subscribers.Add((subject, changed));
        return new Subscription(() =>
        {
            lock (gate)
                subscribers.Remove((subject, changed));
        });
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var stop = new QuietCancellation(stoppingToken);
        while (!stoppingToken.IsCancellationRequested)
        {
            try
            {
                await ListenAsync(stop.Token);
            }
            // Any failure ends here: subscribers poll the database until listening starts again.
            catch (Exception e) when (!stoppingToken.IsCancellationRequested)
            {
                isEstablished = false;
                LogLost(e.Message);
            }

            await Task.Delay(RetryAfter, clock, stoppingToken);
        }
    }

    private async Task ListenAsync(CancellationToken ct)
    {
        await using var connection = await postgres.OpenConnectionAsync(ct);
        connection.Notification += (_, notification) => Call(notification.Payload);
        await ExecuteAsync(connection, "listen token_service", ct);
        await VerifyDeliveryAsync(connection, ct);

        // Rows may have changed while this replica did not listen. Subscribers are told so before IsListening becomes
        // true.
        CallAll();
        while (true)
        {
            var sentAt = clock.GetTimestamp();
            await ExecuteAsync(connection, "select 1", ct);
            Volatile.Write(ref heartbeatAt, sentAt);
            isEstablished = true;
            LogRestored();
            await WaitAsync(connection, ct);
        }
    }

    private async Task VerifyDeliveryAsync(NpgsqlConnection connection, CancellationToken ct)
    {
        var (greeting, hasArrived) = ($"greeting-{Guid.NewGuid():N}", false);
        using var subscription = Subscribe(greeting, _ => hasArrived = true);
        await using (var other = await postgres.OpenConnectionAsync(ct))
            await ExecuteAsync(other, $"notify token_service, '{greeting}'", ct);

        using var timeout = new QuietCancellation(GreetingTimeout, clock, ct);
        try
        {
            while (!hasArrived)
                await connection.WaitAsync(timeout.Token);
        }
        catch (OperationCanceledException) when (!ct.IsCancellationRequested)
        {
            throw new TimeoutException(
                "a notification that another connection sent does not arrive; "
                + "a pooler in front of the database must be in session mode");
        }
    }

    private static async Task ExecuteAsync(NpgsqlConnection connection, string sql, CancellationToken ct)
    {
        await using var command = new NpgsqlCommand(sql, connection) { CommandTimeout = HeartbeatTimeoutSeconds };
        await command.ExecuteNonQueryAsync(ct);
    }

    // Receives notifications until the next heartbeat is due.
    private async Task WaitAsync(NpgsqlConnection connection, CancellationToken ct)
    {
        using var due = new QuietCancellation(HeartbeatInterval, clock, ct);
        try
        {
            while (true)
                await connection.WaitAsync(due.Token);
        }
        catch (OperationCanceledException) when (!ct.IsCancellationRequested)
        {
            // The next heartbeat is due. The connection is still usable after a cancelled wait.
        }
    }

    private void Call(string payload)
    {
        var words = payload.Split(' ', 2);
        lock (gate)
        {
            foreach (var (subject, changed) in subscribers)
            {
                if (subject == words[0])
                    changed(words.ElementAtOrDefault(1));
            }
        }
    }

    private void CallAll()
    {
        lock (gate)
        {
            foreach (var (_, changed) in subscribers)
                changed(null);
        }
    }

    // Logged once for each loss, not at every attempt to connect.
    private void LogLost(string reason)
    {
        if (!isLossLogged)
            Log.ListeningLost(logger, reason);
        isLossLogged = true;
    }

    private void LogRestored()
    {
        if (isLossLogged)
            Log.ListeningRestored(logger);
        isLossLogged = false;
    }

    private sealed class Subscription(Action end) : IDisposable
    {
        public void Dispose() => end();
    }

    private static partial class Log
    {
        [LoggerMessage(1, LogLevel.Warning,
            "Not listening for changes, polling instead: {Reason}. Requests are answered, but a change takes up to "
            + "5 seconds to reach this replica. The server keeps trying; if this lasts, check the database and any pooler")]
        public static partial void ListeningLost(ILogger logger, string reason);

        [LoggerMessage(2, LogLevel.Information, "Listening for changes again")]
        public static partial void ListeningRestored(ILogger logger);
    }
}
