using System.Threading.Channels;
using Microsoft.Extensions.Options;
using TokenService.Postgres;

namespace TokenService.Keys;

/// <summary>
/// Rotates the signing keys: loads what other replicas and admins changed, takes the steps that are due, and logs each
/// change. It wakes at every notification and every few seconds.
/// </summary>
internal sealed partial class KeyRotation(
    SigningKeyStore store,
    SigningKeys keys,
    ChangeNotifications notifications,
    IOptions<KeyOptions> options,
    TimeProvider clock,
    ILogger<KeyRotation> logger) : BackgroundService
{
    /// <summary>How late this replica learns of a change when no notification arrives.</summary>
    public static readonly TimeSpan PollInterval = TimeSpan.FromSeconds(5);

    // The private half of a key that is gone is destroyed this much later. A replica whose clock is behind still
    // publishes the key, and it must open the private half before it may publish.
    private static readonly TimeSpan EraseDelay = TimeSpan.FromHours(1);

    private const int MaxAttempts = 60;

    // One step at a time, so that two steps of this replica do not wait for each other's lock in the database.
    private readonly SemaphoreSlim stepping = new(1);

    private readonly Dictionary<string, SigningKeyState> loggedStates = [];

    private string? loggedProblem;

    /// <summary>
    /// Loads the keys and takes the steps that are due, until there is a key to sign with. The server calls it before
    /// it accepts requests.
    /// </summary>
    /// <returns>Why there is no such key or why a key cannot be opened, for the operator; null: the server can start.</returns>
    public async Task<string?> PrepareAsync(CancellationToken ct)
    {
        // Each attempt waits up to a second for the lock. The replica that has it may be making RSA keys on a slow
        // machine.
        for (var attempt = 0; attempt < MaxAttempts; attempt++)
        {
            if (await StepAsync(ct) is { } problem)
                return problem;
            if (keys.Ring.SigningByDefault(clock.GetUtcNow(), options.Value.Algorithm) is not null)
                return null;
        }

        return "There is no signing key, and none could be made for a minute, because another session locks token_service.signing_key. "
            + "Look for that session in pg_locks.";
    }

    /// <summary>Loads the keys and takes the steps that are due now.</summary>
    /// <returns>Why a key cannot be opened, for the operator; null: every key can.</returns>
    public async Task<string?> StepAsync(CancellationToken ct)
    {
        await stepping.WaitAsync(ct);
        try
        {
            return await TakeStepAsync(ct);
        }
        finally
        {
            stepping.Release();
        }
    }

    public override void Dispose()
    {
        stepping.Dispose();
        base.Dispose();
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var stop = new QuietCancellation(stoppingToken);
        // One queued wake-up is enough, because each step does everything that is due.
        var wake = Channel.CreateBounded<bool>(new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropWrite });
        using var timer = clock.CreateTimer(_ => wake.Writer.TryWrite(true), null, PollInterval, PollInterval);
        using var subscription = notifications.Subscribe("signing_key", _ => wake.Writer.TryWrite(true));

        LogStates();
        await foreach (var _ in wake.Reader.ReadAllAsync(stoppingToken))
        {
            try
            {
                LogProblem(await StepAsync(stop.Token));
            }
            // Any failure ends here, because the known keys can still sign for weeks.
            catch (Exception e) when (!stoppingToken.IsCancellationRequested)
            {
                Log.Failed(logger, e);
            }

            LogStates();
        }
    }

    private async Task<string?> TakeStepAsync(CancellationToken ct)
    {
        // Loading comes first: this replica must learn of a withdrawal even if the steps below fail or wait.
        var problem = await keys.LoadAsync(ct);

        var now = clock.GetUtcNow();
        var plan = keys.Plan;
        var kidsToErase = keys.Ring.Keys
            .Where(key => key.SealedBy is not null && key.GoneAfter < now - EraseDelay)
            .Select(key => key.Kid)
            .ToList();
        var isDue = plan.StepsAt(now, keys.Ring).Count > 0;
        // False: another replica is taking the steps. A notification wakes this one when they are taken.
        if (isDue && !await store.TryTakeStepsAsync(now - SigningKeys.GoneKeyRetention, ring => plan.StepsAt(now, ring), ct))
            Log.Busy(logger);
        if (kidsToErase.Count > 0)
            await store.EraseAsync(kidsToErase, ct);
        return isDue ? await keys.LoadAsync(ct) : problem;
    }

    // Logged once for each problem, not at every poll.
    private void LogProblem(string? problem)
    {
        if (problem is not null && problem != loggedProblem)
            Log.CannotOpen(logger, problem);
        loggedProblem = problem;
    }

    // Logs each change of a key's state, also when another replica or an admin made it.
    private void LogStates()
    {
        var now = clock.GetUtcNow();
        foreach (var key in keys.Ring.Keys)
        {
            var state = key.StateAt(now);
            if (loggedStates.TryGetValue(key.Kid, out var logged) && logged == state)
                continue;
            loggedStates[key.Kid] = state;
            Log.Step(logger, key.Kid, key.Algorithm, state, key.SignsFrom, key.SignsUntil, key.GoneAfter);
        }
    }

    private static partial class Log
    {
        [LoggerMessage(1, LogLevel.Information,
            "Signing key {Kid} ({Algorithm}) is now {State}: signs from {SignsFrom:u} until {SignsUntil:u}, gone after {GoneAfter:u}")]
        public static partial void Step(
            ILogger logger, string kid, string algorithm, SigningKeyState state,
            DateTimeOffset signsFrom, DateTimeOffset? signsUntil, DateTimeOffset? goneAfter);

        [LoggerMessage(2, LogLevel.Error, "{Problem}")]
        public static partial void CannotOpen(ILogger logger, string problem);

        [LoggerMessage(3, LogLevel.Warning,
            "The signing keys could not be loaded or rotated. Tokens are still signed with the known keys, and the server "
            + "tries again within 5 seconds. If this lasts, check the database")]
        public static partial void Failed(ILogger logger, Exception e);

        [LoggerMessage(4, LogLevel.Information,
            "The signing keys are locked by another replica or by an admin's transaction. Tokens are still signed with the known "
            + "keys, and the server tries again within 5 seconds. If this lasts, look for the session in pg_locks")]
        public static partial void Busy(ILogger logger);
    }
}
