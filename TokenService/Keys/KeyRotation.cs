using System.Threading.Channels;
using Microsoft.Extensions.Options;
using TokenService.Postgres;

namespace TokenService.Keys;

/// <summary>
/// Leads the keys through their lives: does what is due, learns what other replicas or an admin did, and says each change in the
/// log. Wakes at every notification and every few seconds.
/// </summary>
internal sealed partial class KeyRotation(
    SigningKeyStore store,
    SigningKeys keys,
    ChangeNotifications notifications,
    IOptions<KeyOptions> options,
    TimeProvider clock,
    ILogger<KeyRotation> logger) : BackgroundService
{
    /// <summary>How late a replica that hears no notification learns of a change.</summary>
    public static readonly TimeSpan PollInterval = TimeSpan.FromSeconds(5);

    // After a key is gone, for replicas whose clocks differ, its private half is kept for a while: what is published is opened first.
    private static readonly TimeSpan Grace = TimeSpan.FromHours(1);

    private readonly Dictionary<string, SigningKeyState> told = [];

    private string? toldProblem;

    /// <summary>Does what is due now, and takes in what is new. The loop calls it; so does the start, which must have keys.</summary>
    /// <returns>Why a key cannot be opened, for the operator; null: all can.</returns>
    public async Task<string?> StepAsync(CancellationToken ct)
    {
        // First what others did: a withdrawal must be learned even where nothing can be done.
        var problem = await keys.LoadAsync(ct);

        var now = clock.GetUtcNow();
        var plan = await PlanAsync(ct);
        var erasable = keys.Ring.Keys.Where(key => key.SealedBy is not null && key.GoneAfter < now - Grace).Select(key => key.Kid).ToList();
        var isDue = plan.StepsAt(now, keys.Ring).Count > 0;
        if (isDue)
            await store.TakeStepsAsync(now - SigningKeys.Remembered, ring => plan.StepsAt(now, ring), ct);
        if (erasable.Count > 0)
            await store.EraseAsync(erasable, ct);
        return isDue ? await keys.LoadAsync(ct) : problem;
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var stop = new QuietCancellation(stoppingToken);
        // One wake-up waiting is as good as many.
        var wake = Channel.CreateBounded<bool>(new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropWrite });
        using var timer = clock.CreateTimer(_ => wake.Writer.TryWrite(true), null, PollInterval, PollInterval);
        using var heard = notifications.Subscribe("signing_key", _ => wake.Writer.TryWrite(true));

        Tell();
        await foreach (var _ in wake.Reader.ReadAllAsync(stoppingToken))
        {
            try
            {
                Tell(await StepAsync(stop.Token));
            }
            // Whatever it is: keys that are not looked after still sign for weeks, a server that stopped does not.
            catch (Exception e) when (!stoppingToken.IsCancellationRequested)
            {
                Log.Failed(logger, e);
            }

            Tell();
        }
    }

    private async Task<KeyPlan> PlanAsync(CancellationToken ct)
    {
        var asked = await store.WantedByResourcesAsync(ct);
        return new KeyPlan(
            options.Value.Algorithm,
            [.. asked.Prepend(options.Value.Algorithm).Distinct()],
            options.Value.SigningPeriod,
            options.Value.JwksMaxAge);
    }

    // Once, not at every poll.
    private void Tell(string? problem)
    {
        if (problem is not null && problem != toldProblem)
            Log.CannotOpen(logger, problem);
        toldProblem = problem;
    }

    // A line for each step of each key's life, whoever took it.
    private void Tell()
    {
        var now = clock.GetUtcNow();
        foreach (var key in keys.Ring.Keys)
        {
            var state = key.StateAt(now);
            if (told.TryGetValue(key.Kid, out var before) && before == state)
                continue;
            told[key.Kid] = state;
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

        [LoggerMessage(3, LogLevel.Warning, "The signing keys could not be looked after; those known go on")]
        public static partial void Failed(ILogger logger, Exception e);
    }
}
