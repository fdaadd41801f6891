using System.Net;
using System.Net.Sockets;
using Microsoft.Extensions.Options;
using TokenService.Protocol;

namespace TokenService.Limits;

/// <summary>A secret that has to be hashed.</summary>
/// <param name="Target">What it is tried on: the id of a secret's row, or of a client.</param>
/// <param name="Source">Where it comes from; null: of no account here.</param>
internal readonly record struct Attempt(string Target, IPAddress? Source);

/// <summary>
/// Counts the wrong secrets that had to be hashed (RFC 6749 §2.3.1: brute force), against what they were tried on and against where they
/// came from; over either budget the next is refused before it is hashed. Who is recognised is not asked here, and neither is who names
/// the row of a live secret whose budget is whole, so nobody is locked out by what others do from the same address.
/// </summary>
internal sealed class FailedAttemptLimiter(IOptions<LimitOptions> options, TimeProvider clock)
{
    private readonly Rate perTarget = Rate.PerMinute(options.Value.FailuresPerClient);
    private readonly Rate perSource = Rate.PerMinute(options.Value.FailuresPerSource);
    private readonly RateLimiter<string> targets = new(clock);
    private readonly RateLimiter<IPAddress> sources = new(clock);

    /// <summary>Counts an attempt as wrong before it is known to be, so that many at once are no way round the limit.</summary>
    /// <returns>Why the secret is not to be tried now; null: it is.</returns>
    public OAuthError? Begin(Attempt attempt)
    {
        if (!targets.TryTake(attempt.Target, perTarget, out var wait))
            return OAuthError.TooManyRequests("too many wrong secrets were tried on this client or secret", wait);
        if (attempt.Source is null || sources.TryTake(Network(attempt.Source), perSource, out wait))
            return null;

        targets.GiveBack(attempt.Target, perTarget);
        return OAuthError.TooManyRequests("too many wrong secrets came from this address", wait);
    }

    /// <summary>Counts it no more: the secret was right, or was not tried after all.</summary>
    public void Forgive(Attempt attempt)
    {
        targets.GiveBack(attempt.Target, perTarget);
        if (attempt.Source is not null)
            sources.GiveBack(Network(attempt.Source), perSource);
    }

    // Of IPv6 the /64, which one caller has to himself.
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
