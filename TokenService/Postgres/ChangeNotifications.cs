using Npgsql;

namespace TokenService.Postgres;

/// <summary>
/// Hears what triggers NOTIFY: what changed, and which. Says, too, whether it hears: notifications are lost while the connection is,
/// and a connection can be dead without anybody being told. So a heartbeat goes over it every second, and three seconds without an answer
/// count as deaf. Through a pooler that lends connections by the transaction none would ever arrive: so it first has to hear what is said
/// over another connection. Whoever subscribes looks at the database by itself meanwhile, and is called when hearing comes back.
/// </summary>
internal sealed partial class ChangeNotifications(NpgsqlDataSource postgres, TimeProvider clock, ILogger<ChangeNotifications> logger) : BackgroundService
{
    /// <summary>How old the last sign of life may be.</summary>
    public static readonly TimeSpan MaxSilence = TimeSpan.FromSeconds(3);

    private static readonly TimeSpan HeartbeatInterval = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan RetryAfter = TimeSpan.FromSeconds(1);

    private static readonly TimeSpan GreetingTimeout = TimeSpan.FromSeconds(2);

    // Whole seconds, as Npgsql has it. It then takes up to two more to give the connection up.
    private const int HeartbeatTimeoutSeconds = 2;

    private readonly Lock gate = new();
    private readonly List<(string Subject, Action<string?> Changed)> subscribers = [];

    private long heardAt = clock.GetTimestamp();
    private volatile bool isEstablished;
    private bool isLossLogged;

    /// <summary>True while every change that was committed a moment ago has been heard of.</summary>
    public bool IsListening => isEstablished && SilentFor < MaxSilence;

    /// <summary>How long ago the last sign of life was, or the start.</summary>
    public TimeSpan SilentFor => clock.GetElapsedTime(Volatile.Read(ref heardAt));

    /// <param name="subject">What matters, such as <c>client</c>: the first word of a notification.</param>
    /// <param name="changed">Called at each, with the id of the one that changed; null: any of them may have. Returns at once.</param>
    /// <returns>Ends the subscription.</returns>
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
            // Whatever it is: those who subscribe look by themselves.
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
        connection.Notification += (_, heard) => Call(heard.Payload);
        await ExecuteAsync(connection, "listen token_service", ct);
        await VerifyDeliveryAsync(connection, ct);

        // Whatever changed while nobody listened, before anybody may think that all has been heard.
        Call();
        while (true)
        {
            var sentAt = clock.GetTimestamp();
            await ExecuteAsync(connection, "select 1", ct);
            Volatile.Write(ref heardAt, sentAt);
            isEstablished = true;
            LogRestored();
            await WaitAsync(connection, ct);
        }
    }

    private async Task VerifyDeliveryAsync(NpgsqlConnection connection, CancellationToken ct)
    {
        var (greeting, isHeard) = ($"greeting-{Guid.NewGuid():N}", false);
        using var subscription = Subscribe(greeting, _ => isHeard = true);
        await using (var other = await postgres.OpenConnectionAsync(ct))
            await ExecuteAsync(other, $"notify token_service, '{greeting}'", ct);

        using var timeout = new QuietCancellation(GreetingTimeout, clock, ct);
        try
        {
            while (!isHeard)
                await connection.WaitAsync(timeout.Token);
        }
        catch (OperationCanceledException) when (!ct.IsCancellationRequested)
        {
            throw new TimeoutException(
                "what another connection NOTIFYs does not arrive; a pooler in front of the database has to lend connections by the session");
        }
    }

    private static async Task ExecuteAsync(NpgsqlConnection connection, string sql, CancellationToken ct)
    {
        await using var command = new NpgsqlCommand(sql, connection) { CommandTimeout = HeartbeatTimeoutSeconds };
        await command.ExecuteNonQueryAsync(ct);
    }

    // Hears until the next heartbeat is due.
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
            // A wait that is cancelled leaves the connection as it was.
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

    private void Call()
    {
        lock (gate)
        {
            foreach (var (_, changed) in subscribers)
                changed(null);
        }
    }

    // Once, not at every attempt.
    private void LogLost(string reason)
    {
        if (!isLossLogged)
            Log.Deaf(logger, reason);
        isLossLogged = true;
    }

    private void LogRestored()
    {
        if (isLossLogged)
            Log.Hearing(logger);
        isLossLogged = false;
    }

    private sealed class Subscription(Action end) : IDisposable
    {
        public void Dispose() => end();
    }

    private static partial class Log
    {
        [LoggerMessage(1, LogLevel.Warning, "Not listening for changes, polling instead: {Reason}")]
        public static partial void Deaf(ILogger logger, string reason);

        [LoggerMessage(2, LogLevel.Information, "Listening for changes again")]
        public static partial void Hearing(ILogger logger);
    }
}
