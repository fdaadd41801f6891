using System.Diagnostics.CodeAnalysis;
using System.Net;
using System.Net.Sockets;
using Microsoft.Extensions.Options;
using TokenService.Caching;
using TokenService.Protocol;

namespace TokenService.Limits;

/// <summary>An attempt to authenticate with a secret that must be hashed.</summary>
/// <param name="Target">
/// The client_id, or the client_id and the id of the secret's row, that the attempt counts against.
/// </param>
/// <param name="Source">The caller's address; null: unknown.</param>
/// <param name="NamesLiveSecret">True when the presented secret contains the id of a live secret.</param>
internal readonly record struct Attempt(string Target, IPAddress? Source, bool NamesLiveSecret = false);

/// <summary>An attempt that is counted as failed until it is forgiven.</summary>
/// <param name="Network">The source that it counts against.</param>
/// <param name="IsFresh">True when no attempt from this source failed in the last minutes.</param>
/// <param name="UsesReserve">True when it counts against the target's reserve for fresh sources.</param>
internal readonly record struct CountedAttempt(Attempt Attempt, IPAddress Network, bool IsFresh, bool UsesReserve);

/// <summary>
/// Counts wrong secrets that had to be hashed (RFC 6749 §2.3.1: brute force). Each source has a budget for each target,
/// and one for all targets. Each target has a budget for all sources, ten times as large, and a reserve for sources
/// that have not failed lately. So a flood of guesses from some addresses does not keep the right secret out that comes
/// from another. When a budget is used up, the next attempt is refused before it is hashed. A recognised secret needs
/// no hash and is not counted. An attempt with the id of a live secret does not count against the budget of its source
/// for all targets, so a flood of other guesses from the same address cannot lock its client out.
/// </summary>
internal sealed class FailedAttemptLimiter(IOptions<LimitOptions> options, TimeProvider clock)
{
    /// <summary>How many sources together use up the budget of a target.</summary>
    public const int SourcesPerTarget = 10;

    private const int MaxSources = 50_000; // about 100 bytes each

    private static readonly TimeSpan Lately = TimeSpan.FromMinutes(10);

    private readonly Rate perTargetAndSource = Rate.PerMinute(options.Value.FailuresPerClient);
    private readonly Rate perTarget = Rate.PerMinute(options.Value.FailuresPerClient * SourcesPerTarget);
    private readonly Rate perSource = Rate.PerMinute(options.Value.FailuresPerSource);
    private readonly RateLimiter<(string Target, IPAddress Source)> targetsOfSources = new(clock);
    private readonly RateLimiter<string> targets = new(clock);
    private readonly RateLimiter<string> reserves = new(clock);
    private readonly RateLimiter<IPAddress> sources = new(clock);

    // When each source last began an attempt that was not forgiven.
    private readonly BoundedMap<IPAddress, long> failures = new(MaxSources);

    /// <summary>
    /// Counts an attempt as failed before its outcome is known, so that many attempts at the same time cannot exceed
    /// the limit.
    /// </summary>
    /// <returns>False: a budget is used up, and the error is a 429.</returns>
    public bool TryBegin(Attempt attempt, out CountedAttempt counted, [NotNullWhen(false)] out OAuthError? error)
    {
        var network = Network(attempt.Source ?? IPAddress.None);
        counted = new CountedAttempt(attempt, network, IsFresh: !HasFailedLately(network), UsesReserve: false);
        error = null;
        if (!attempt.NamesLiveSecret && !sources.TryTake(network, perSource, out var wait))
        {
            error = OAuthError.TooManyRequests(Reason.TooManyFailuresFromSource, wait);
        }
        else if (!targetsOfSources.TryTake((attempt.Target, network), perTargetAndSource, out wait))
        {
            GiveBackSource(counted);
            error = OAuthError.TooManyRequests(Reason.TooManyFailuresOfTarget, wait);
        }
        else if (!targets.TryTake(attempt.Target, perTarget, out wait))
        {
            counted = counted with { UsesReserve = counted.IsFresh && reserves.TryTake(attempt.Target, perTargetAndSource, out _) };
            if (!counted.UsesReserve)
            {
                targetsOfSources.GiveBack((attempt.Target, network), perTargetAndSource);
                GiveBackSource(counted);
                error = OAuthError.TooManyRequests(Reason.TooManyFailuresOfTarget, wait);
            }
        }

        if (error is null)
            failures.Set(network, clock.GetTimestamp());
        return error is null;
    }

    /// <summary>Takes an attempt off all counts, because the secret was right.</summary>
    public void Forgive(CountedAttempt counted)
    {
        ForgiveTarget(counted);
        GiveBackSource(counted);
    }

    /// <summary>
    /// Takes an attempt off the counts of its target, because the secret was not hashed after all. The source keeps it:
    /// an address that fills the hashing queue uses up its budget in the same way.
    /// </summary>
    public void ForgiveTarget(CountedAttempt counted)
    {
        var target = counted.Attempt.Target;
        targetsOfSources.GiveBack((target, counted.Network), perTargetAndSource);
        if (counted.UsesReserve)
            reserves.GiveBack(target, perTargetAndSource);
        else
            targets.GiveBack(target, perTarget);
        if (counted.IsFresh)
            failures.Remove(counted.Network);
    }

    private void GiveBackSource(CountedAttempt counted)
    {
        if (!counted.Attempt.NamesLiveSecret)
            sources.GiveBack(counted.Network, perSource);
    }

    private bool HasFailedLately(IPAddress network) =>
        failures.TryGetValue(network, out var at) && clock.GetElapsedTime(at) < Lately;

    // An IPv6 caller usually has a whole /64 network, so all addresses of a /64 count as one source.
    private static IPAddress Network(IPAddress source)
    {
        if (source.AddressFamily != AddressFamily.InterNetworkV6)
            return source;

        Span<byte> bytes = stackalloc byte[16];
        source.TryWriteBytes(bytes, out _);
        bytes[8..].Clear();
        return new IPAddress(bytes);
    }
}
