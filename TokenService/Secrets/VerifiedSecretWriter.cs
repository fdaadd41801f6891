using Dapper;
using Npgsql;
using TokenService.Postgres;

namespace TokenService.Secrets;

/// <summary>
/// Writes the MACs of verified secrets to the database, as they come and when the server stops. While the database is
/// unavailable they wait.
/// </summary>
internal sealed partial class VerifiedSecretWriter(
    VerifiedSecretQueue queue, NpgsqlDataSource postgres, TimeProvider clock, ILogger<VerifiedSecretWriter> logger) : BackgroundService
{
    private const int MaxBatchSize = 1000;

    private const string Keep = "select token_service.keep_verified_secrets(@ids, @macs, @keyIds, @verifiedAt)";

    private static readonly TimeSpan RetryAfter = TimeSpan.FromSeconds(5);

    // The last write must not keep the server from stopping.
    private static readonly TimeSpan LastWriteTimeout = TimeSpan.FromSeconds(2);

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var stop = new QuietCancellation(stoppingToken);
        try
        {
            while (true)
            {
                await queue.WaitAsync(stoppingToken);
                if (!await TryWriteAsync(queue.Take(MaxBatchSize), stop.Token))
                    await Task.Delay(RetryAfter, clock, stoppingToken);
            }
        }
        catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
        {
            using var timeout = new QuietCancellation(LastWriteTimeout, TimeProvider.System);
            await TryWriteAsync(queue.Take(MaxBatchSize), timeout.Token);
        }
    }

    private async Task<bool> TryWriteAsync(IReadOnlyDictionary<string, KeptMac> macs, CancellationToken ct)
    {
        try
        {
            await using var connection = await postgres.OpenConnectionAsync(ct);
            await connection.ExecuteAsync(Keep, new
            {
                ids = macs.Keys.ToArray(),
                macs = macs.Values.Select(mac => mac.Mac.ToArray()).ToArray(),
                keyIds = macs.Values.Select(mac => mac.KeyId).ToArray(),
                verifiedAt = Enumerable.Repeat(clock.GetUtcNow().UtcDateTime, macs.Count).ToArray(),
                ct,
            }, commandTimeout: connection.CommandTimeout);
            return true;
        }
        // Any failure ends here: the secrets are recognised all the same, until this server stops.
        catch (Exception e)
        {
            Log.Failed(logger, e, macs.Count);
            foreach (var (secretId, mac) in macs)
                queue.Add(secretId, mac);
            return false;
        }
    }

    private static partial class Log
    {
        [LoggerMessage(1, LogLevel.Warning,
            "{Count} verified secrets could not be kept in the database. Callers notice nothing, and the server tries again in 5 "
            + "seconds; after a restart these secrets are hashed once more")]
        public static partial void Failed(ILogger logger, Exception e, int count);
    }
}
