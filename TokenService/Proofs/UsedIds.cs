using Microsoft.Extensions.Options;
using TokenService.Clients;
using TokenService.Configuration;
using TokenService.Postgres;
using TokenService.Protocol;
using TokenService.Telemetry;

namespace TokenService.Proofs;

/// <summary>How an id was used up.</summary>
internal enum IdUse
{
    /// <summary>The database has recorded it, so no replica accepts it again.</summary>
    Recorded,

    /// <summary>The database does not answer. This replica does not accept it again.</summary>
    OnMemoryAlone,
}

/// <summary>
/// Uses up the ids of assertions, so that each assertion works once (RFC 7523 §3, jti). This replica's memory refuses most
/// repetitions at no cost. Then a unique key in the database decides, which all replicas share. While the database does
/// not answer, an assertion that is at most a minute old is accepted on this replica's memory alone, if that reaches back
/// to when the assertion could first have been used. The replica records it when the database answers again. Until then
/// somebody who captured it could use it once at each other replica; if this replica ends before that, until it is too old.
/// </summary>
internal sealed partial class UsedIds
{
    private const int MaxRemembered = 200_000; // about 12 MB

    private const int MaxUnrecorded = 100_000; // about 15 MB

    private const int MaxLateBatchSize = 1000;

    private static readonly TimeSpan MaxAgeOnMemoryAlone = TimeSpan.FromMinutes(1);

    // A clock that is further ahead would make "a minute old" two minutes.
    private static readonly TimeSpan MaxAheadOnMemoryAlone = TimeSpan.FromSeconds(10);

    private static readonly TimeSpan RetryAfter = TimeSpan.FromSeconds(5);

    private readonly UsedIdStore store;
    private readonly ReplayMemory memory;
    private readonly DatabaseGate gate;
    private readonly StatementBatches<UnrecordedId, bool> batches;
    private readonly Metrics metrics;
    private readonly TimeProvider clock;
    private readonly bool isMemoryEnough;
    private readonly TimeSpan serveWhileAway;

    // The ids that were accepted on memory alone and are not recorded yet.
    private readonly Dictionary<IdHash, OneTimeId> unrecorded = [];

    // The clock's timestamp when the database stopped answering.
    private long lostAt;

    public UsedIds(
        UsedIdStore store,
        ChangeNotifications notifications,
        IOptions<AssertionOptions> options,
        IOptions<ClientCacheOptions> clients,
        ServerProfile profile,
        Metrics metrics,
        TimeProvider clock,
        ILogger<UsedIds> logger)
    {
        (this.metrics, this.clock) = (metrics, clock);
        serveWhileAway = clients.Value.ServeWhileAway;
        isMemoryEnough = profile.AllowsAssertionsOnMemoryAlone && options.Value.WhileAway == AssertionsWhileAway.Memory;
        // While the database answers, this only spares it repetitions: the age after an iat that may be ahead, and the skew.
        memory = new ReplayMemory(MaxRemembered, options.Value.Age + (2 * ClientAssertion.Skew), clock);
        gate = new DatabaseGate(
            notifications,
            clock,
            lost: e =>
            {
                Volatile.Write(ref lostAt, clock.GetTimestamp());
                Log.Lost(logger, e, isMemoryEnough ? MaxAgeOnMemoryAlone : TimeSpan.Zero, serveWhileAway);
            },
            restored: () =>
            {
                Log.Restored(logger);
                _ = RecordLateAsync();
            });
        this.store = store;
        batches = new StatementBatches<UnrecordedId, bool>(InsertAsync, gate, clock);
    }

    /// <summary>Uses up an id. Its assertion was verified, and nothing else can refuse the request.</summary>
    /// <returns>
    /// Refused with invalid_client when the id was used before, and with 503 when that cannot be known. After a 503 the
    /// same assertion may be sent again, unless the database may have recorded it.
    /// </returns>
    public async ValueTask<Result<IdUse>> UseAsync(OneTimeId id)
    {
        if (IsUnrecorded(id) || !memory.TryAdd(id.Hash))
            return Replayed();

        var (isLost, pending) = (gate.IsLost, new UnrecordedId(id));
        try
        {
            if (!gate.TryEnter())
                return OnMemoryAlone(pending);
            var recording = batches.RunAsync(pending, isProbe: isLost);
            if (isLost)
            {
                // This is a probe, which probably fails. The caller does not wait for it.
                _ = recording.ContinueWith(probe => probe.Exception, TaskScheduler.Default);
                return OnMemoryAlone(pending);
            }

            return await recording ? IdUse.Recorded : Replayed();
        }
        catch (DatabaseSlowException)
        {
            return Refuse(pending, Reason.DatabaseSlow);
        }
        catch (Exception e) when (DatabaseUnavailable.IsTheCauseOf(e))
        {
            return OnMemoryAlone(pending);
        }
    }

    /// <summary>
    /// Records the ids that were accepted on memory alone, so that the other replicas refuse them too. Runs when the database
    /// answers again, and again each minute until it has succeeded.
    /// </summary>
    public async Task RecordLateAsync()
    {
        OneTimeId[] late;
        lock (unrecorded)
            late = [.. unrecorded.Values];
        try
        {
            foreach (var batch in late.Chunk(MaxLateBatchSize))
            {
                await gate.AskAsync(ct => store.InsertAsync([.. batch.Select(id => new UnrecordedId(id))], ct));
                lock (unrecorded)
                {
                    foreach (var id in batch)
                        unrecorded.Remove(id.Hash);
                }
            }
        }
        catch (Exception e) when (DatabaseUnavailable.IsTheCauseOf(e))
        {
            // The gate has logged that the database does not answer.
        }
    }

    private async Task<IReadOnlyList<bool>> InsertAsync(IReadOnlyList<UnrecordedId> ids, CancellationToken ct)
    {
        var began = clock.GetTimestamp();
        var isFirst = await store.InsertAsync(ids, ct);
        metrics.UsedIdsRecorded(ids.Count, clock.GetElapsedTime(began));
        return isFirst;
    }

    private OAuthError Replayed()
    {
        metrics.Replayed("assertion");
        return OAuthError.InvalidClient(Reason.AssertionReplayed);
    }

    private Result<IdUse> OnMemoryAlone(UnrecordedId id)
    {
        var isFreshEnough = isMemoryEnough
            && clock.GetUtcNow() - id.Id.IssuedAt <= MaxAgeOnMemoryAlone
            && id.Id.IssuedAt - clock.GetUtcNow() <= MaxAheadOnMemoryAlone
            // An assertion is accepted up to a minute before its iat, by a client's clock that is ahead.
            && id.Id.IssuedAt - ClientAssertion.Skew >= memory.IsCompleteSince
            && clock.GetElapsedTime(Volatile.Read(ref lostAt)) < serveWhileAway;
        return isFreshEnough && TryKeep(id.Id) ? IdUse.OnMemoryAlone : Refuse(id, Reason.DatabaseUnavailable);
    }

    // The memory may forget an id before the database has it.
    private bool TryKeep(OneTimeId id)
    {
        lock (unrecorded)
        {
            if (unrecorded.Count >= MaxUnrecorded)
            {
                var now = clock.GetUtcNow();
                foreach (var (over, _) in unrecorded.Where(entry => entry.Value.Until <= now).ToList())
                    unrecorded.Remove(over);
            }

            return unrecorded.Count < MaxUnrecorded && unrecorded.TryAdd(id.Hash, id);
        }
    }

    private bool IsUnrecorded(OneTimeId id)
    {
        lock (unrecorded)
            return unrecorded.ContainsKey(id.Hash);
    }

    private OAuthError Refuse(UnrecordedId id, string reason)
    {
        if (!id.IsSent)
            memory.Remove(id.Id.Hash);
        return OAuthError.TemporarilyUnavailable(reason, RetryAfter);
    }

    private static partial class Log
    {
        [LoggerMessage(1, LogLevel.Warning,
            "The database does not record used assertions. Assertions that are at most {MaxAge} old are accepted, once at each "
            + "replica, for {ServeWhileAway}; others get 503. Check the database; this server recovers without a restart")]
        public static partial void Lost(ILogger logger, Exception e, TimeSpan maxAge, TimeSpan serveWhileAway);

        [LoggerMessage(2, LogLevel.Information, "The database records used assertions again")]
        public static partial void Restored(ILogger logger);
    }
}
