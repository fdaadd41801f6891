using System.Diagnostics.CodeAnalysis;
using System.Net;
using System.Net.Sockets;
using Microsoft.Extensions.Options;
using TokenService.Protocol;

namespace TokenService.Limits;

/// <summary>An attempt to authenticate with a secret that must be hashed.</summary>
/// <param name="Target">
/// The client_id, or the client_id and the id of the secret's row, that the attempt counts against.
/// </param>
/// <param name="Source">The caller's address; null: the attempt does not count against an address.</param>
internal readonly record struct Attempt(string Target, IPAddress? Source);

/// <summary>
/// Counts wrong secrets that had to be hashed (RFC 6749 §2.3.1: brute force) against their target and against their
/// source address. When one of the two budgets is used up, the next attempt is refused before it is hashed. A
/// recognised secret needs no hash and is not counted. An attempt with the id of a live secret counts against that
/// secret only, so a flood of other guesses from the same address cannot lock its client out.
/// </summary>
internal sealed class FailedAttemptLimiter(IOptions<LimitOptions> options, TimeProvider clock)
{
    private readonly Rate perTarget = Rate.PerMinute(options.Value.FailuresPerClient);
    private readonly Rate perSource = Rate.PerMinute(options.Value.FailuresPerSource);
    private readonly RateLimiter<string> targets = new(clock);
    private readonly RateLimiter<IPAddress> sources = new(clock);

    /// <summary>
    /// Counts an attempt as failed before its outcome is known, so that many attempts at the same time cannot exceed
    /// the limit.
    /// </summary>
    /// <returns>False: a budget is used up, and the error is a 429.</returns>
    public bool TryBegin(Attempt attempt, [NotNullWhen(false)] out OAuthError? error)
    {
        error = null;
        if (!targets.TryTake(attempt.Target, perTarget, out var wait))
        {
            error = OAuthError.TooManyRequests(Reason.TooManyFailuresOfTarget, wait);
        }
        else if (attempt.Source is not null && !sources.TryTake(Network(attempt.Source), perSource, out wait))
        {
            targets.GiveBack(attempt.Target, perTarget);
            error = OAuthError.TooManyRequests(Reason.TooManyFailuresFromSource, wait);
        }

        return error is null;
    }

    /// <summary>Takes an attempt off both counts, because the secret was right.</summary>
    public void Forgive(Attempt attempt)
    {
        ForgiveTarget(attempt);
        if (attempt.Source is not null)
            sources.GiveBack(Network(attempt.Source), perSource);
    }

    /// <summary>
    /// Takes an attempt off the count of its target alone, because the secret was not hashed after all. The source
    /// keeps it: an address that fills the hashing queue uses up its budget in the same way.
    /// </summary>
    public void ForgiveTarget(Attempt attempt) => targets.GiveBack(attempt.Target, perTarget);

    // An IPv6 caller usually has a whole /64 network, so all addresses of a /64 count as one source.
    private static IPAddress Network(IPAddress source)
    {
        if (source.IsIPv4MappedToIPv6)
            return source.MapToIPv4();
        if (source.AddressFamily != AddressFamily.InterNetworkV6)
            return source;

        Span<byte> bytes = stackalloc byte[16];
        source.TryWriteBytes(bytes, out _);
        bytes[8..].Clear();
        return new IPAddress(bytes);
    }
}
