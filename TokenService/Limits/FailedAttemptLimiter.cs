using System.Net;
using System.Net.Sockets;
using Microsoft.Extensions.Options;
using TokenService.Protocol;

namespace TokenService.Limits;

/// <summary>A credential that has to be verified at a cost.</summary>
/// <param name="Target">What it is tried on: the id of a secret's row, or of a client.</param>
/// <param name="Source">Where it comes from; null: not counted against its source.</param>
internal readonly record struct Attempt(string Target, IPAddress? Source);

/// <summary>
/// Counts the wrong secrets that had to be hashed (RFC 6749 §2.3.1: brute force) against what they were tried on and against where
/// they came from; over either budget the next is refused before it is hashed. A recognised secret is not asked here, and neither is
/// one that names a live row whose budget is whole, so nobody is locked out by what others do from the same address.
/// </summary>
internal sealed class FailedAttemptLimiter(IOptions<LimitOptions> options, TimeProvider clock)
{
    private readonly Rate perTarget = Rate.PerMinute(options.Value.FailuresPerClient);
    private readonly Rate perSource = Rate.PerMinute(options.Value.FailuresPerSource);
    private readonly RateLimiter<string> targets = new(clock);
    private readonly RateLimiter<IPAddress> sources = new(clock);

    /// <summary>
    /// Counts an attempt as failed before its outcome is known, so that many at once are no way round the limit. Refused with 429
    /// when a budget is used up.
    /// </summary>
    public Result<Attempt> Begin(Attempt attempt)
    {
        if (!targets.TryTake(attempt.Target, perTarget, out var wait))
            return OAuthError.TooManyRequests(Reason.TooManyFailuresOfTarget, wait);
        if (attempt.Source is null || sources.TryTake(Network(attempt.Source), perSource, out wait))
            return attempt;

        targets.GiveBack(attempt.Target, perTarget);
        return OAuthError.TooManyRequests(Reason.TooManyFailuresFromSource, wait);
    }

    /// <summary>Takes an attempt off the count: the secret was right, or was not tried after all.</summary>
    public void Forgive(Attempt attempt)
    {
        targets.GiveBack(attempt.Target, perTarget);
        if (attempt.Source is not null)
            sources.GiveBack(Network(attempt.Source), perSource);
    }

    // One IPv6 caller has a /64 to itself.
    private static IPAddress Network(IPAddress source)
    {
        if (source.AddressFamily != AddressFamily.InterNetworkV6 || source.IsIPv4MappedToIPv6)
            return source.IsIPv4MappedToIPv6 ? source.MapToIPv4() : source;

        Span<byte> bytes = stackalloc byte[16];
        source.TryWriteBytes(bytes, out _);
        bytes[8..].Clear();
        return new IPAddress(bytes);
    }
}
