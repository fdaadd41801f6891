using System.ComponentModel.DataAnnotations;

namespace TokenService.Limits;

/// <summary>How much is too much, for each replica. Section <c>Limits</c>.</summary>
internal sealed class LimitOptions
{
    public const string Section = "Limits";

    /// <summary>Wrong secrets that are hashed for one client, or for one secret of ours, at once, 1 to 10000. Default 10; then one in each 6 seconds.</summary>
    [Range(1, 10_000, ErrorMessage = "Limits:FailuresPerClient must be 1 to 10000.")]
    public int FailuresPerClient { get; set; } = 10;

    /// <summary>The same for one source address (of IPv6, its /64). Default 100; then one in each 0.6 seconds.</summary>
    [Range(1, 10_000, ErrorMessage = "Limits:FailuresPerSource must be 1 to 10000.")]
    public int FailuresPerSource { get; set; } = 100;

    /// <summary>
    /// Callers that do not prove who they are, and are told so (4xx) in a second, 10 to 100000. Default 500. When more come, each waits for
    /// its turn, or 2 seconds where that is sooner; when 10,000 wait, one more is told at once.
    /// </summary>
    [Range(10, 100_000, ErrorMessage = "Limits:RefusalsPerSecond must be 10 to 100000.")]
    public int RefusalsPerSecond { get; set; } = 500;

    /// <summary>Requests whose body has come and that are being answered, 16 to 100000. Default 4096. One more gets 503.</summary>
    [Range(16, 100_000, ErrorMessage = "Limits:RequestsInFlight must be 16 to 100000.")]
    public int RequestsInFlight { get; set; } = 4096;
}
