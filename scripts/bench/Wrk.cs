using System.Diagnostics;
using System.Text.Json;

namespace TokenService.Bench;

/// <param name="Requests">The number of answered requests.</param>
/// <param name="Seconds">The duration.</param>
/// <param name="Refused">The number of answers with a status other than 2xx.</param>
/// <param name="Broken">The number of requests without an answer.</param>
/// <param name="P50Microseconds">The median duration of an answer.</param>
/// <param name="P99Microseconds">The 99th percentile of the duration of an answer.</param>
/// <param name="Statuses">The number of answers by status, if they were counted.</param>
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

    /// <summary>Whether wrk had sent every line of its file before the end, so that the server was idle after that.</summary>
    public bool Exhausted { get; init; }
}

/// <summary>Runs wrk, which sends as many requests as the server answers.</summary>
internal static class Wrk
{
    /// <summary>Writes a file of credentials for wrk.</summary>
    public static Task<string> FileAsync(string folder, string name, IEnumerable<BenchClient> clients, CancellationToken ct) =>
        FileAsync(folder, name, clients.Select(client => client.Basic), ct);

    /// <summary>Writes a file of requests for wrk, whose lines are as load.lua says.</summary>
    public static async Task<string> FileAsync(string folder, string name, IEnumerable<string> lines, CancellationToken ct)
    {
        var file = Path.Combine(folder, name);
        await File.WriteAllLinesAsync(file, lines, ct);
        return file;
    }

    /// <summary>Floods the server with requests, whose lines are as load.lua says, again and again.</summary>
    public static async Task<Flooded> FloodAsync(
        int port, string folder, IEnumerable<string> lines, int connections, int seconds, CancellationToken ct)
    {
        var file = await FileAsync(folder, "flood", lines, ct);
        var result = await RunAsync(port, file, connections, seconds, ct, isFlood: true);
        var statuses = result.Statuses.OrderByDescending(status => status.Value).Select(status => $"{status.Value} x {status.Key}");
        return new Flooded(string.Join(", ", statuses) + (result.Broken > 0 ? $", {result.Broken} broken" : ""), result.PerSecond);
    }

    /// <param name="port">The server's port.</param>
    /// <param name="file">The file of credentials or requests.</param>
    /// <param name="connections">The number of connections; each waits for its answer before the next request.</param>
    /// <param name="seconds">The duration.</param>
    /// <param name="ct">Ends wrk early.</param>
    /// <param name="isFlood">
    /// Whether wrk counts answers by status and runs at low priority, so that other load on its core is not slowed.
    /// </param>
    /// <param name="isRepeated">Whether only the first line is sent, which takes wrk less time.</param>
    /// <param name="isOnce">Whether no line is sent again, because its assertion or proof works once.</param>
    public static async Task<WrkResult> RunAsync(
        int port, string file, int connections, int seconds, CancellationToken ct, bool isFlood = false,
        bool isRepeated = false, bool isOnce = false)
    {
        string[] wrk =
        [
            "wrk", "--threads", "1", "--connections", $"{connections}", "--duration", $"{seconds}s", "--timeout", "10s",
            "--script", Path.Combine(AppContext.BaseDirectory, "load.lua"), $"http://127.0.0.1:{port}", "--", file,
        ];
        var start = isFlood ? new ProcessStartInfo("nice", ["-n", "10", .. wrk]) : new ProcessStartInfo(wrk[0], wrk[1..]);
        start.RedirectStandardOutput = true;
        start.Environment["BENCH_COUNT"] = isFlood ? "yes" : "no";
        start.Environment["BENCH_REPEAT"] = isRepeated ? "yes" : "no";
        start.Environment["BENCH_ONCE"] = isOnce ? "yes" : "no";
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
