using Microsoft.Extensions.Diagnostics.HealthChecks;
using TokenService.Caching;
using TokenService.Limits;
using TokenService.Postgres;

namespace TokenService.Endpoints;

/// <summary>
/// <c>GET /healthz/ready</c>: 200 <c>Healthy</c> when every health check succeeds, otherwise 503 <c>Unhealthy</c>.
/// Anyone may send this request, so the checks run once at a time, and their result is kept for a second. A change of
/// the result is logged, not each result.
/// </summary>
internal sealed partial class ReadinessEndpoint(
    HealthCheckService checks, HealthThrottle throttle, TimeProvider clock, ILogger<ReadinessEndpoint> logger)
{
    public const string Path = "/healthz/ready";

    /// <summary>Checks that take longer have failed.</summary>
    private static readonly TimeSpan Timeout = TimeSpan.FromSeconds(2);

    private static readonly TimeSpan MaxAge = TimeSpan.FromSeconds(1);

    private readonly SingleFlight<string, Checked> running = new();
    private volatile Checked? last;

    public async Task AnswerAsync(HttpContext http)
    {
        await throttle.WaitAsync(http.RequestAborted);
        var current = last;
        if (current is null || clock.GetElapsedTime(current.At) >= MaxAge)
            current = await http.WorkAsync(() => running.RunAsync(Path, CheckAsync, out _).WaitAsync(http.RequestAborted));

        http.Response.StatusCode = current.Problem is null
            ? StatusCodes.Status200OK
            : StatusCodes.Status503ServiceUnavailable;
        http.Response.ContentType = "text/plain";
        http.Response.Headers.CacheControl = "no-store";
        await http.Response.WriteAsync(current.Problem is null ? "Healthy" : "Unhealthy", http.RequestAborted);
    }

    private async Task<Checked> CheckAsync()
    {
        var (problem, before) = (await FindProblemAsync(), last?.Problem);
        if (problem is not null && before is null)
            Log.NotReady(logger, problem);
        else if (problem is null && before is not null)
            Log.Ready(logger);

        return last = new Checked(problem, clock.GetTimestamp());
    }

    private async Task<string?> FindProblemAsync()
    {
        try
        {
            var report = await DatabaseGate.InTimeAsync(Timeout, clock, ct => checks.CheckHealthAsync(ct));
            var failed = report.Entries.Where(check => check.Value.Status != HealthStatus.Healthy)
                .Select(check => $"{check.Key}: {check.Value.Description}");
            return report.Status == HealthStatus.Healthy ? null : string.Join("; ", failed);
        }
        catch (TimeoutException e)
        {
            return e.Message;
        }
    }

    /// <param name="Problem">Which checks failed, and why; null: none did.</param>
    /// <param name="At">When they ended, as a timestamp of the clock.</param>
    private sealed record Checked(string? Problem, long At);

    private static partial class Log
    {
        [LoggerMessage(1, LogLevel.Warning, "This replica is not ready. {Problem}")]
        public static partial void NotReady(ILogger logger, string problem);

        [LoggerMessage(2, LogLevel.Information, "This replica is ready again")]
        public static partial void Ready(ILogger logger);
    }
}
