using TokenService.Postgres;
using TokenService.Protocol;
using TokenService.Telemetry;

namespace TokenService.Usage;

/// <summary>
/// Writes how much credentials and scopes were used, every 30 seconds and when the server stops, and warns of used
/// secrets and keys that will end. While the database is unavailable, the counts wait for the next write.
/// </summary>
internal sealed partial class UsageWriter(
    UsageCounters counters, UsageStore store, Metrics metrics, TimeProvider clock, ILogger<UsageWriter> logger) : BackgroundService
{
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(30);

    // This is time enough to rotate a secret.
    private static readonly TimeSpan WarnAhead = TimeSpan.FromDays(14);

    private static readonly TimeSpan WarnAgain = TimeSpan.FromDays(1);

    // The last write must not keep the server from stopping.
    private static readonly TimeSpan LastWriteTimeout = TimeSpan.FromSeconds(2);

    // When the last warning about each credential was logged.
    private readonly Dictionary<CredentialId, DateTimeOffset> warned = [];

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        metrics.ObserveEndingCredentials(
            secrets: () => Count(CredentialId.Secret), keys: () => Count(CredentialId.Key));
        using var stop = new QuietCancellation(stoppingToken);
        using var timer = new PeriodicTimer(Interval, clock);
        try
        {
            while (await timer.WaitForNextTickAsync(stoppingToken))
                await WriteAsync(stop.Token);
        }
        catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
        {
            // The server takes no requests now.
            using var timeout = new QuietCancellation(LastWriteTimeout, TimeProvider.System);
            await WriteAsync(timeout.Token);
        }
    }

    private async Task WriteAsync(CancellationToken ct)
    {
        ForgetWarnings();
        var usage = counters.Read();
        if (usage.IsEmpty)
            return;

        try
        {
            var ending = await store.WriteAsync(usage, clock.GetUtcNow() + WarnAhead, ct);
            counters.Written(usage);
            Warn(ending);
        }
        // Any failure is only logged, because tokens are issued all the same. If the answer was lost after the
        // statement had committed, these counts are added twice.
        catch (Exception e)
        {
            Log.Failed(logger, e);
        }
    }

    private void Warn(IReadOnlyList<EndingCredential> ending)
    {
        foreach (var (credential, clientId, endsAt) in ending)
        {
            lock (warned)
            {
                if (!warned.TryAdd(credential, clock.GetUtcNow()))
                    continue;
            }

            if (credential.Kind == CredentialId.Key)
                Log.EndingKey(logger, clientId, credential.Id[(clientId.Length + 1)..], endsAt);
            else
                Log.Ending(logger, clientId, credential.Id, endsAt);
        }
    }

    // The metrics are read by another thread.
    private int Count(string kind)
    {
        lock (warned)
            return warned.Keys.Count(credential => credential.Kind == kind);
    }

    private void ForgetWarnings()
    {
        var now = clock.GetUtcNow();
        lock (warned)
        {
            foreach (var (credential, _) in warned.Where(entry => now - entry.Value >= WarnAgain).ToList())
                warned.Remove(credential);
        }
    }

    private static partial class Log
    {
        [LoggerMessage(1, LogLevel.Warning,
            "Client {ClientId} still uses secret {SecretId}, which ends at {EndsAt:u}: rotate it before then")]
        public static partial void Ending(ILogger logger, string clientId, string secretId, DateTimeOffset endsAt);

        [LoggerMessage(3, LogLevel.Warning, "Client {ClientId} still uses key {Kid}, which ends at {EndsAt:u}: rotate it before then")]
        public static partial void EndingKey(ILogger logger, string clientId, string kid, DateTimeOffset endsAt);

        [LoggerMessage(2, LogLevel.Warning,
            "The usage of credentials and scopes could not be written. The counts are kept, and written with the next ones")]
        public static partial void Failed(ILogger logger, Exception e);
    }
}
