using System.Diagnostics;
using Npgsql;

namespace TokenService.Bench;

internal sealed partial class Run
{
    // How many connections the clients share after a restart.
    private const int HerdConnections = 32;

    // More than secrets can wait to be hashed, so that some get 503.
    private const int FirstStartConnections = 1000;

    private const int FirstStartSeconds = 10;

    // Longer than the slowest round of all clients; a client that is not answered by then has failed.
    private static readonly TimeSpan MaxRound = TimeSpan.FromSeconds(60);

    /// <summary>
    /// Measures the first requests after a restart: every client asks once, as fast as the answers come, and then once
    /// more. The database has the MACs of their secrets, so nothing is hashed.
    /// </summary>
    private async Task MeasureRestartAsync(
        string connection, NpgsqlDataSource database, BenchClient one, IReadOnlyList<BenchClient> many, CancellationToken ct)
    {
        var section = $"{many.Count:N0} clients right after a restart, {HerdConnections} connections";
        Log(section);
        await Workload.KeepVerifiedAsync(database, many, ct);
        await using var server = await ServeAsync(Build.Jit, connection, one, ct);
        var requests = many.Select(client => client.Request).ToArray();
        var first = await AskOnceAsync("first request");
        var calm = await AskOnceAsync("second request, which is calm");
        Table.Add(new Row(section, "p99 of the first request / of the second", first.P99 / calm.P99, "", 10));
        Table.Add(new Row(section, "resident, maximum", server.PeakMiB, "MiB", 200));

        async Task<Latencies> AskOnceAsync(string what)
        {
            var began = Stopwatch.GetTimestamp();
            var answers = await Herd.RunAsync(server.Port, requests, requests.Length, HerdConnections, MaxRound, ct);
            var seconds = Stopwatch.GetElapsedTime(began).TotalSeconds;
            var granted = answers.Where(answer => answer.Status == 200).Select(answer => answer.Milliseconds).Order().ToArray();
            var round = new Latencies(requests.Length, requests.Length - granted.Length, granted);
            Table.Add(new Row(section, $"{what}: failures", round.Failed, "", 0, Note: Statuses(answers)));
            Table.Add(new Row(section, $"{what}: p50", round.P50, "ms", Note: $"{requests.Length / seconds:F0}/s"));
            Table.Add(new Row(section, $"{what}: p99", round.P99, "ms", Note: $"worst {Row.Number(round.P100)} ms"));
            return round;
        }
    }

    /// <summary>
    /// Measures the first start ever: the database has no MAC, so every secret is hashed. The clients ask in turn,
    /// without the pause that the server asks for.
    /// </summary>
    private async Task MeasureFirstStartAsync(
        string connection, NpgsqlDataSource database, BenchClient one, IReadOnlyList<BenchClient> many, CancellationToken ct)
    {
        var section = $"{many.Count:N0} clients at the first start ever, {FirstStartConnections:N0} connections";
        Log(section);
        await Workload.ForgetVerifiedAsync(database, ct);
        await using var server = await ServeAsync(Build.Jit, connection, one, ct);
        var answers = await Herd.RunAsync(
            server.Port, [.. many.Select(client => client.Request)], int.MaxValue, FirstStartConnections,
            TimeSpan.FromSeconds(FirstStartSeconds), ct);
        var busy = answers.Where(answer => answer.Status == 503).Select(answer => answer.RetryAfter).ToArray();
        var granted = answers.Count(answer => answer.Status == 200);
        var served = answers.Where(answer => answer.Status == 200).DistinctBy(answer => answer.Client).Count();
        Table.Add(new Row(
            section, $"tokens in {FirstStartSeconds} s", granted, "", Note: $"of {served} of the clients"));
        Table.Add(new Row(section, $"503 in {FirstStartSeconds} s", busy.Length, ""));
        Table.Add(new Row(section, "any other answer", answers.Count - granted - busy.Length, "", 0, Note: Statuses(answers)));
        if (busy.Length > 0)
        {
            Table.Add(new Row(section, "503 without Retry-After", busy.Count(seconds => seconds == 0), "", 0));
            Table.Add(new Row(
                section, "Retry-After rose by", busy.Max() - busy[0], "s", 1, IsMaximum: false,
                Note: $"first {busy[0]}, last {busy[^1]}, longest {busy.Max()} s"));
        }
    }

    private static string Statuses(IEnumerable<HerdAnswer> answers) => string.Join(", ", answers
        .CountBy(answer => answer.Status)
        .OrderByDescending(status => status.Value)
        .Select(status => status.Key == 0 ? $"{status.Value} broken" : $"{status.Value} x {status.Key}"));
}
