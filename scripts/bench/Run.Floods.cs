using System.Globalization;
using Npgsql;

namespace TokenService.Bench;

internal sealed partial class Run
{
    // How many connections of half-sent bodies there are, and the files that a process needs for everything else.
    private const int HalfSentConnections = 8000;
    private const int OtherFiles = 600;

    // Longer than the server waits for a body.
    private const int HalfSentSeconds = 22;

    // All of them are open by then, and the server has not closed any yet.
    private static readonly TimeSpan AllHalvesOpen = TimeSpan.FromSeconds(4);

    private async Task MeasureFloodsAsync(
        Build build, string connection, NpgsqlDataSource database, BenchClient one, IReadOnlyList<BenchClient> known, BenchClient victim,
        Queue<BenchClient> newcomers, CancellationToken ct)
    {
        Log($"Floods, {build.Name}.");
        await using var server = await ServeAsync(build, connection, one, ct, ("Events__File", "/dev/null"));
        await WarmUpAsync(server, await Wrk.FileAsync(Folder, "known", known, ct), ct);
        await ServeKnownAsync(server, known, 1, ct);
        var calm = await ServeKnownAsync(server, known, arguments.Seconds, ct);
        AddCalm($"{build.Name}, calm", calm);
        var newcomerLoad = new Newcomers(server.Port, newcomers);
        var floods = new Floods(server.Port, Folder, known, victim, database);
        var most = 0.0;
        foreach (var flood in floods.All.Where(flood => flood.IsQuick || !arguments.IsQuick))
        {
            var section = $"{build.Name}, flood beside {KnownPerSecond} requests/s of recognised clients: {flood.Name}";
            Log(section);
            await flood.PrepareAsync(ct);
            server.ForgetPeak();
            var lines = server.Lines;
            using var over = CancellationTokenSource.CreateLinkedTokenSource(ct);
            var connected = ServerConnections.MaxAsync(database, over.Token);
            var flooding = flood.RunAsync(arguments.FloodSeconds, ct);
            await Task.Delay(TimeSpan.FromMilliseconds(500), ct);
            var coming = newcomerLoad.MeasureAsync(TimeSpan.FromSeconds(arguments.FloodSeconds - 1.5), ct);
            var served = await ServeKnownAsync(server, known, arguments.FloodSeconds - 1, ct);
            var durations = await coming;
            var peak = server.PeakMiB;
            most = Math.Max(most, peak);
            var flooded = await flooding;
            await over.CancelAsync();
            AddServed(section, flooded, served, calm);
            Table.Add(new Row(
                section, "newcomers: slowest token", durations.Max().TotalSeconds, "s", 2,
                Note: $"of {durations.Count}"));
            Table.Add(new Row(
                section, "resident, maximum", peak, "MiB", MaxMiB(build),
                Note: $"then {Row.Number(server.ResidentMiB)}"));
            Table.Add(new Row(section, "its connections to PostgreSQL, maximum", await connected, ""));
            if (server.Lines > lines)
                Table.Add(new Row(
                    section, "lines in its log", server.Lines - lines, "", Note: Message(server.LastLogLines())));
            await Task.Delay(TimeSpan.FromSeconds(arguments.IsQuick ? 0.3 : 1), ct);
        }

        AddPeak(build, "maximum in the floods, one after the other", most);
    }

    /// <summary>
    /// Measures a flood of half-sent bodies. The server is another one, so that the memory of the floods before does
    /// not hide what these connections take.
    /// </summary>
    private async Task MeasureHalfSentAsync(string connection, BenchClient one, IReadOnlyList<BenchClient> known, CancellationToken ct)
    {
        await using var server = await ServeAsync(Build.Jit, connection, one, ct, ("Events__File", "/dev/null"));
        var idle = server.ResidentMiB;
        await WarmUpAsync(server, await Wrk.FileAsync(Folder, "known", known, ct), ct);
        await ServeKnownAsync(server, known, 2, ct);
        var calm = await ServeKnownAsync(server, known, arguments.Seconds, ct);

        // The server inherits this limit.
        var connections = Math.Min(HalfSentConnections, MaxOpenFiles() - OtherFiles);
        var section = $"Flood beside {KnownPerSecond} requests/s of recognised clients: "
            + $"{connections:N0} connections with half-sent bodies";
        Log(section);
        AddCalm("Calm, before the half-sent bodies", calm);
        var warm = server.ResidentMiB;
        server.ForgetPeak();
        var lines = server.Lines;
        var flooding = FloodWithHalvesAsync(server.Port, connections, ct);
        await Task.Delay(TimeSpan.FromMilliseconds(500), ct);
        var seconds = HalfSentSeconds - 2;
        var connecting = new NewConnections(server.Port, known).MeasureAsync(TimeSpan.FromSeconds(seconds), ct);
        var holding = ResidentAfterAsync(server, AllHalvesOpen, ct);
        var served = await ServeKnownAsync(server, known, seconds, ct);
        var opened = await connecting;
        var whileOpen = await holding;
        AddServed(section, await flooding, served, calm);
        Table.Add(new Row(
            section, "recognised, a new connection each time: failures", opened.Failed, "", 0,
            Note: $"of {opened.Sent}; p50 {Row.Number(opened.P50)}, worst {Row.Number(opened.P100)} ms"));
        Table.Add(new Row(
            section, "resident, maximum", server.PeakMiB, "MiB",
            Note: $"idle {Row.Number(idle)}, before the flood {Row.Number(warm)}"));
        Table.Add(new Row(
            section, "resident, a connection, while all are open", (whileOpen - warm) * 1024 / connections, "KiB",
            Note: $"{Row.Number(whileOpen)} MiB"));
        if (server.Lines > lines)
            Table.Add(new Row(section, "lines in its log", server.Lines - lines, "", Note: Message(server.LastLogLines())));
    }

    private static async Task<double> ResidentAfterAsync(ServerProcess server, TimeSpan time, CancellationToken ct)
    {
        await Task.Delay(time, ct);
        return server.ResidentMiB;
    }

    private static async Task<Flooded> FloodWithHalvesAsync(int port, int connections, CancellationToken ct)
    {
        // The flood runs at low priority, so that the other load on its core is not slowed.
        var start = TokenServer.StartInfo(
            [typeof(Run).Assembly.Location, "half-sent", $"{port}", $"{connections}", $"{HalfSentSeconds}"]);
        var numbers = await RunOwnAsync(Cores.Yielding(start), ct);
        return new Flooded(
            $"{numbers[0]} open at most, {numbers[1]} opened, {numbers[2]} answered after {Row.Number(numbers[4])} s on "
                + $"average, {numbers[3]} refused or reset",
            numbers[1] / HalfSentSeconds);
    }

    // The limit in force, which the runtime has raised as far as it may.
    private static int MaxOpenFiles()
    {
        var line = File.ReadLines("/proc/self/limits").First(line => line.StartsWith("Max open files", StringComparison.Ordinal));
        var words = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
        return int.TryParse(words[3], CultureInfo.InvariantCulture, out var max) ? max : int.MaxValue;
    }
}
