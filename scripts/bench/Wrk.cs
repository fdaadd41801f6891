using System.Diagnostics;
using System.Text.Json;

namespace TokenService.Bench;

/// <param name="Requests">That were answered.</param>
/// <param name="Seconds">In which they were.</param>
/// <param name="Refused">Of them, those not answered 2xx.</param>
/// <param name="Broken">That were not answered.</param>
/// <param name="P50Microseconds">Of an answer.</param>
/// <param name="P99Microseconds">Of an answer.</param>
/// <param name="Statuses">Answers by status, where they were counted.</param>
internal sealed record WrkResult(
    long Requests,
    double Seconds,
    long Refused,
    long Broken,
    long P50Microseconds,
    long P99Microseconds,
    Dictionary<string, long> Statuses)
{
    public double PerSecond => Requests / Seconds;
}

/// <summary>As many requests as the server answers, by wrk.</summary>
internal static class Wrk
{
    /// <summary>A file of credentials for it.</summary>
    public static async Task<string> FileAsync(string folder, string name, IEnumerable<BenchClient> clients, CancellationToken ct)
    {
        var file = Path.Combine(folder, name);
        await File.WriteAllLinesAsync(file, clients.Select(client => client.Basic), ct);
        return file;
    }

    /// <param name="port">Of the server.</param>
    /// <param name="file">Of credentials.</param>
    /// <param name="connections">That each wait for an answer before they ask again.</param>
    /// <param name="seconds">For how long.</param>
    /// <param name="ct">Ends it.</param>
    /// <param name="isFlood">Counted by status, and no hindrance to others on the load's core.</param>
    public static async Task<WrkResult> RunAsync(
        int port, string file, int connections, int seconds, CancellationToken ct, bool isFlood = false)
    {
        string[] wrk =
        [
            "wrk", "--threads", "1", "--connections", $"{connections}", "--duration", $"{seconds}s", "--timeout", "10s",
            "--script", Path.Combine(AppContext.BaseDirectory, "load.lua"), $"http://127.0.0.1:{port}", "--", file,
        ];
        var start = isFlood ? new ProcessStartInfo("nice", ["-n", "10", .. wrk]) : new ProcessStartInfo(wrk[0], wrk[1..]);
        start.RedirectStandardOutput = true;
        start.Environment["BENCH_COUNT"] = isFlood ? "yes" : "no";
        using var process = Process.Start(start)!;
        await using var kill = ct.Register(process.Kill);
        var output = await process.StandardOutput.ReadToEndAsync(CancellationToken.None);
        await process.WaitForExitAsync(CancellationToken.None);
        ct.ThrowIfCancellationRequested();
        var line = output.Split('\n').LastOrDefault(line => line.StartsWith('{'))
            ?? throw new InvalidOperationException($"wrk failed:\n{output}");
        return JsonSerializer.Deserialize<WrkResult>(line, JsonSerializerOptions.Web)!;
    }
}
