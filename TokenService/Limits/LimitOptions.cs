using System.ComponentModel.DataAnnotations;

namespace TokenService.Limits;

/// <summary>Limits, which each replica applies for itself. Section <c>Limits</c>.</summary>
internal sealed class LimitOptions
{
    public const string Section = "Limits";

    /// <summary>
    /// Wrong secrets that are hashed per minute, and in one burst, for one client or for one generated secret from one
    /// source address, 1 to 10000. Default 10: a burst of 10, then one every 6 seconds. All addresses together may
    /// present ten times as many, and addresses that have not failed in the last 10 minutes as many again as one.
    /// </summary>
    [Range(1, 10_000, ErrorMessage = "Limits:FailuresPerClient must be 1 to 10000.")]
    public int FailuresPerClient { get; set; } = 10;

    /// <summary>
    /// The same for one source address or one IPv6 /64 network. Default 100: a burst of 100, then one every 0.6
    /// seconds.
    /// </summary>
    [Range(1, 10_000, ErrorMessage = "Limits:FailuresPerSource must be 1 to 10000.")]
    public int FailuresPerSource { get; set; } = 100;

    /// <summary>
    /// 4xx answers per second to callers that were not authenticated, 10 to 100000. Default 500. When there are more,
    /// each answer waits for its turn, at most 2 seconds. When 10,000 answers wait, the next one is sent at once.
    /// </summary>
    [Range(10, 100_000, ErrorMessage = "Limits:RefusalsPerSecond must be 10 to 100000.")]
    public int RefusalsPerSecond { get; set; } = 500;

    /// <summary>
    /// Requests whose body has arrived and whose answer is not known yet, 16 to 100000. Default 4096. One more gets
    /// 503.
    /// </summary>
    [Range(16, 100_000, ErrorMessage = "Limits:RequestsInFlight must be 16 to 100000.")]
    public int RequestsInFlight { get; set; } = 4096;
}
