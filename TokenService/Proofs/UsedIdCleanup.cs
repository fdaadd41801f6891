using TokenService.Postgres;

namespace TokenService.Proofs;

/// <summary>
/// Records the ids of assertions that were accepted in an outage, and deletes those of assertions that have expired. Every
/// replica does this; a replica skips the rows that another one is deleting.
/// </summary>
internal sealed partial class UsedIdCleanup(UsedIds ids, UsedIdStore store, TimeProvider clock, ILogger<UsedIdCleanup> logger)
    : BackgroundService
{
    private const int BatchSize = 10_000; // the most that the SQL function delete_expired_jti accepts

    // A million rows a minute: more than the assertions that a replica can verify.
    private const int MaxBatches = 100;

    private static readonly TimeSpan Interval = TimeSpan.FromMinutes(1);

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var stop = new QuietCancellation(stoppingToken);
        using var timer = new PeriodicTimer(Interval, clock);
        while (await timer.WaitForNextTickAsync(stoppingToken))
        {
            try
            {
                await ids.RecordLateAsync();
                for (var batch = 0; batch < MaxBatches && await store.DeleteExpiredAsync(BatchSize, stop.Token) == BatchSize; batch++)
                {
                }
            }
            // Any failure ends here, because expired rows that stay a while longer do no harm.
            catch (Exception e) when (!stoppingToken.IsCancellationRequested)
            {
                Log.Failed(logger, e);
            }
        }
    }

    private static partial class Log
    {
        [LoggerMessage(1, LogLevel.Warning,
            "Expired ids of assertions could not be deleted. Callers notice nothing, and the server tries again every minute. "
            + "If this lasts, check the database")]
        public static partial void Failed(ILogger logger, Exception e);
    }
}
