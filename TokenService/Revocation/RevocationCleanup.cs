using TokenService.Postgres;

namespace TokenService.Revocation;

/// <summary>
/// Deletes, in small batches, revocations of tokens that have expired. Every replica does this; a replica skips the
/// rows that another one is deleting.
/// </summary>
internal sealed partial class RevocationCleanup(RevocationStore store, TimeProvider clock, ILogger<RevocationCleanup> logger)
    : BackgroundService
{
    private const int MaxBatchSize = 1000; // the most that the SQL function delete_expired accepts

    // Rows beyond this number of batches are left for the next round or for another replica.
    private const int MaxBatches = 20;

    private static readonly TimeSpan Interval = TimeSpan.FromMinutes(1);

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var stop = new QuietCancellation(stoppingToken);
        using var timer = new PeriodicTimer(Interval, clock);
        while (await timer.WaitForNextTickAsync(stoppingToken))
        {
            try
            {
                await DeleteAsync(stop.Token);
            }
            // Any failure ends here, because expired rows that stay a while longer do no harm.
            catch (Exception e) when (!stoppingToken.IsCancellationRequested)
            {
                Log.Failed(logger, e);
            }
        }
    }

    private async Task DeleteAsync(CancellationToken ct)
    {
        for (var batch = 0; batch < MaxBatches; batch++)
        {
            var deleted = await store.DeleteExpiredAsync(MaxBatchSize, ct);
            if (deleted < MaxBatchSize)
                return;
        }
    }

    private static partial class Log
    {
        [LoggerMessage(1, LogLevel.Warning,
            "Expired revocations could not be deleted. Callers notice nothing, and the server tries again every minute. "
            + "If this lasts, check the database")]
        public static partial void Failed(ILogger logger, Exception e);
    }
}
