using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text.RegularExpressions;

namespace TokenService.Bench;

/// <summary>
/// What the measurements of running servers share: servers on a core of their own, rounds by processor time, recognised
/// clients beside a flood, and the table. All of a measurement is measured in one run, so that other load on the machine
/// affects compared figures alike.
/// </summary>
/// <param name="cores">The cores of the server and the load.</param>
/// <param name="folder">The folder for the files of the measurement.</param>
/// <param name="isQuick">Whether to measure less, for less time.</param>
internal abstract partial class ServerMeasurement(Cores cores, string folder, bool isQuick)
{
    // Sixteen connections keep the server's core busy.
    protected const int Connections = 16;

    protected const int KnownPerSecond = 500;
    private const int KnownConnections = 16;

    private readonly string events = Path.Combine(folder, "events"); // each server appends its number
    private int started; // how many servers

    protected Table Table { get; } = new();

    protected Cores Cores => cores;

    protected string Folder => folder;

    /// <summary>Measures, and prints the table.</summary>
    /// <param name="limit">The maximum duration.</param>
    /// <param name="json">The file that gets the figures; null: none.</param>
    /// <param name="make">Makes the measurement on these cores, with this folder.</param>
    /// <returns>The exit code.</returns>
    protected static async Task<int> RunAsync(TimeSpan limit, string? json, Func<Cores, string, ServerMeasurement> make)
    {
        if (!OperatingSystem.IsLinux())
        {
            await Console.Error.WriteLineAsync("This measurement needs Linux, because it uses taskset and /proc.");
            return 1;
        }

        return await Measurement.RunAsync(limit, async ct =>
        {
            var folder = Directory.CreateTempSubdirectory("tsvc-bench-");
            try
            {
                var measurement = make(Cores.Choose(), folder.FullName);
                await measurement.MeasureAndDescribeAsync(ct);
                measurement.Table.Print(Console.Out);
                if (json is not null)
                    await File.WriteAllTextAsync(json, measurement.Table.Json(), ct);
                return 0;
            }
            finally
            {
                folder.Delete(recursive: true);
            }
        });
    }

    protected abstract Task MeasureAsync(CancellationToken ct);

    protected Task<ServerProcess> ServeAsync(
        Build build, string connection, BenchClient client, CancellationToken ct, params (string Name, string Value)[] settings) =>
        ServeAsync(build, cores.Server, connection, client, ct, settings);

    /// <param name="build">The build to start.</param>
    /// <param name="on">The cores that it may use; null: all.</param>
    /// <param name="connection">Its database, as the superuser.</param>
    /// <param name="client">Asks until it gets its first token.</param>
    /// <param name="ct">Ends the start.</param>
    /// <param name="settings">Settings that differ from the usual ones.</param>
    protected Task<ServerProcess> ServeAsync(
        Build build, string? on, string connection, BenchClient client, CancellationToken ct,
        params (string Name, string Value)[] settings)
    {
        var all = new Dictionary<string, string> { ["Events__File"] = $"{events}-{++started}" };
        foreach (var (name, value) in settings)
            all[name] = value;
        return ServerProcess.StartAsync(
            TokenServer.StartInfo(build, Postgres.ForService(connection), all), on, client.Request, ct);
    }

    protected string? AllCores() => cores.Server == cores.Load ? cores.Server : $"{cores.Server},{cores.Load}";

    /// <summary>Makes many things before they are measured, on all cores. Afterwards this program is on its own core again.</summary>
    protected T[] MakeOnAllCores<T>(int count, Func<T> make)
    {
        if (AllCores() is { } all)
            Cores.PinSelf(all);
        var made = new T[count];
        Parallel.For(0, count, new ParallelOptions { MaxDegreeOfParallelism = Environment.ProcessorCount }, n => made[n] = make());
        if (cores.Load is { } load)
            Cores.PinSelf(load);
        return made;
    }

    /// <summary>Runs this program as another process, which prints numbers.</summary>
    protected static async Task<double[]> RunOwnAsync(ProcessStartInfo start, CancellationToken ct)
    {
        using var process = Process.Start(start)!;
        await using var kill = ct.Register(process.Kill);
        var output = await process.StandardOutput.ReadToEndAsync(ct);
        await process.WaitForExitAsync(ct);
        return [.. output.Split(' ').Select(number => double.Parse(number, CultureInfo.InvariantCulture))];
    }

    /// <summary>
    /// Measures the cryptography alone, per second of the clock and of processor time. Other load on the machine hardly
    /// changes the latter.
    /// </summary>
    protected async Task<(double PerSecond, double PerProcessorSecond)> MeasureCryptoAsync(
        double seconds, CancellationToken ct, params string[] command)
    {
        var start = TokenServer.StartInfo(
            [typeof(ServerMeasurement).Assembly.Location, .. command, seconds.ToString(CultureInfo.InvariantCulture)]);
        var numbers = await RunOwnAsync(Cores.Pin(cores.Server, start), ct);
        return (numbers[0], numbers[1]);
    }

    /// <summary>
    /// Runs load until tiered compilation has settled: after enough requests, two stretches in succession are no faster
    /// than before. The compiler has the core to itself in the pauses between stretches.
    /// </summary>
    protected async Task WarmUpAsync(ServerProcess server, string file, CancellationToken ct)
    {
        var (best, requests, settled) = (double.MaxValue, 0L, 0);
        for (var i = 0; i < (isQuick ? 8 : 16) && settled < 2; i++)
        {
            // Processor time is compared, because on a busy machine the clock would show a slow start.
            var stretch = await StretchAsync(server, file, ct);
            await Task.Delay(TimeSpan.FromMilliseconds(200), ct);
            requests += stretch.Result.Requests;
            // A slow operation, such as an RSA signature, does not become faster by compilation.
            var isWarm = requests > 50_000 || stretch.Microseconds > 1000 && i > 2;
            settled = isWarm && stretch.Microseconds > best * 0.97 ? settled + 1 : 0;
            best = Math.Min(best, stretch.Microseconds);
        }
    }

    protected static async Task<Stretch> StretchAsync(
        ServerProcess server, string file, CancellationToken ct, bool isRepeated = false, bool isOnce = false)
    {
        var (before, usedBefore) = (await server.CountAsync(), server.ProcessorTime);
        var result = await Wrk.RunAsync(server.Port, file, Connections, seconds: 1, ct, isRepeated: isRepeated, isOnce: isOnce);
        var (after, used) = (await server.CountAsync(), server.ProcessorTime - usedBefore);
        return new Stretch(result, used.TotalMicroseconds / result.Requests, after?.Since(before!));
    }

    protected static Task<Latencies> ServeKnownAsync(
        ServerProcess server, IReadOnlyList<BenchClient> known, int seconds, CancellationToken ct) => PacedLoad.RunAsync(
        server.Port, [.. known.Select(client => client.Request)], KnownPerSecond, KnownConnections, TimeSpan.FromSeconds(seconds), ct);

    protected void AddCalm(string name, Latencies calm)
    {
        var section = $"{name}: {KnownPerSecond} requests/s of recognised clients";
        Table.Add(new Row(section, "p50", calm.P50, "ms"));
        Table.Add(new Row(section, "p99", calm.P99, "ms"));
        Table.Add(new Row(section, "failures", calm.Failed, "", 0));
    }

    protected void AddServed(string section, Flooded flooded, Latencies served, Latencies calm)
    {
        Table.Add(new Row(section, "the flood", flooded.PerSecond, "/s", Note: flooded.Summary));
        Table.Add(new Row(section, "recognised: failures", served.Failed, "", 0, Note: $"of {served.Sent}"));
        Table.Add(new Row(section, "recognised: p50", served.P50, "ms", Note: $"calm {Row.Number(calm.P50)} ms"));
        Table.Add(new Row(section, "recognised: p99", served.P99, "ms", Note: $"worst {Row.Number(served.P100)} ms"));
        Table.Add(new Row(section, "recognised: p99 / calm p99", served.P99 / calm.P99, "", 5));
    }

    // The message of the last log line, shortened.
    protected static string Message(string lines) => MessageText().Match(lines.Split('\n')[^1]).Value;

    [GeneratedRegex("\"Message\":\"[^\"]{1,80}")]
    private static partial Regex MessageText();

    protected static double Median(IEnumerable<double> figures) => Quantile([.. figures.Order()], 0.5);

    protected static Quartiles Quartiles(IReadOnlyCollection<double> figures)
    {
        double[] sorted = [.. figures.Order()];
        return new Quartiles(Quantile(sorted, 0.25), Quantile(sorted, 0.75));
    }

    // Between the two nearest, where no figure is at the place.
    private static double Quantile(double[] sorted, double share)
    {
        var place = share * (sorted.Length - 1);
        var (below, above) = (sorted[(int)Math.Floor(place)], sorted[(int)Math.Ceiling(place)]);
        return below + ((above - below) * (place - Math.Floor(place)));
    }

    protected void EmptyEvents()
    {
        foreach (var file in Directory.GetFiles(folder, Path.GetFileName(events) + "-*"))
            File.WriteAllText(file, "");
    }

    protected static void Log(string message) => Console.Error.WriteLine(message);

    private async Task MeasureAndDescribeAsync(CancellationToken ct)
    {
        var (began, ticks) = (Stopwatch.GetTimestamp(), Ticks());
        var model = File.ReadLines("/proc/cpuinfo")
            .FirstOrDefault(line => line.StartsWith("model name", StringComparison.Ordinal))?.Split(": ")[1];
        Table.Circumstances.Add($"{Environment.ProcessorCount} cores of {model ?? "an unnamed processor"}, "
            + $"{RuntimeInformation.OSDescription}, {RuntimeInformation.FrameworkDescription}.");
        Table.Circumstances.Add($"{cores}. Load of the machine at the start: {LoadAverage()}.");
        await MeasureAsync(ct);
        var (stolen, all) = Ticks();
        Table.Circumstances.Add(
            $"Took {Stopwatch.GetElapsedTime(began).TotalSeconds:F0} s; "
            + $"load of the machine at the end: {LoadAverage()}; "
            + $"of its processors' time the host took {(stolen - ticks.Stolen) / (all - ticks.All):P1}.");
    }

    // The ticks that the host gave to other machines while this one had work, and the sum of all ticks.
    private static (double Stolen, double All) Ticks()
    {
        var ticks = File.ReadLines("/proc/stat").First().Split(' ', StringSplitOptions.RemoveEmptyEntries)[1..9]
            .Select(number => double.Parse(number, CultureInfo.InvariantCulture)).ToArray();
        return (ticks[7], ticks.Sum());
    }

    private static string LoadAverage() => string.Join(' ', File.ReadAllText("/proc/loadavg").Split(' ')[..3]);

    /// <param name="Result">The result of wrk.</param>
    /// <param name="Microseconds">Processor time of a request.</param>
    /// <param name="Counters">The garbage collector's figures of that second; null: they are not known.</param>
    protected sealed record Stretch(WrkResult Result, double Microseconds, Counters? Counters)
    {
        public double PerSecond => Result.PerSecond;

        /// <summary>Allocated for a request, where it is counted.</summary>
        public double AllocatedBytes => Counters!.Allocated / Result.Requests;
    }
}
