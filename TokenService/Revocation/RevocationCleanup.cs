using TokenService.Postgres;

namespace TokenService.Revocation;

/// <summary>
/// Deletes, a few at a time, revocations whose tokens have expired. Each replica does; what one is deleting, others leave to it.
/// </summary>
internal sealed partial class RevocationCleanup(RevocationStore store, TimeProvider clock, ILogger<RevocationCleanup> logger)
    : BackgroundService
{
    private const int MaxBatchSize = 1000; // the database does no more

    // What is left is for the next time, or another replica.
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
            // Whatever it is: rows that stay a while longer do no harm, a server that stopped does.
            catch (Exception e) when (!stoppingToken.IsCancellationRequested)
            {
                Log.Failed(logger, e);
            }
        }
    }

    private async Task DeleteAsync(CancellationToken ct)
    {
        for (var i = 0; i < MaxBatches && await store.DeleteExpiredAsync(MaxBatchSize, ct) == MaxBatchSize; i++)
        {
            // There may be more.
        }
    }

    private static partial class Log
    {
        [LoggerMessage(1, LogLevel.Warning, "Expired revocations could not be deleted; they are, later")]
        public static partial void Failed(ILogger logger, Exception e);
    }
}
