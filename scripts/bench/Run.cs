using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;
using Npgsql;
using TokenService.Secrets;

namespace TokenService.Bench;

internal sealed record RunArguments(
    bool IsQuick = false, string? Json = null, int? SecondsOption = null, int EnduranceMinutes = 0)
{
    /// <summary>The duration of each measurement.</summary>
    public int Seconds => SecondsOption ?? (IsQuick ? 2 : 10);

    public int FloodSeconds => IsQuick ? 3 : 12;

    /// <summary>
    /// The duration of the flood of half-sent bodies, longer than the server waits for a body: several in the full run.
    /// </summary>
    public int HalfSentSeconds => IsQuick ? 14 : 25;

    /// <summary>How long clients ask after the first start ever.</summary>
    public int FirstStartSeconds => IsQuick ? 5 : 10;

    /// <summary>How often two things that are compared are measured in turn.</summary>
    public int Rounds => IsQuick ? 2 : 4;

    /// <returns>Null when the arguments are wrong.</returns>
    public static RunArguments? Parse(ReadOnlySpan<string> args) => args switch
    {
        [] => new RunArguments(),
        ["--quick", .. var rest] when Parse(rest) is { } others => others with { IsQuick = true },
        ["--json", var file, .. var rest] when Parse(rest) is { } others => others with { Json = file },
        ["--seconds", var number, .. var rest]
            when Parse(rest) is { } others && Number(number) is { } seconds and > 0 and <= 600 =>
            others with { SecondsOption = seconds },
        ["--endure", var number, .. var rest]
            when Parse(rest) is { } others && Number(number) is { } minutes and > 1 and <= 60 =>
            others with { EnduranceMinutes = minutes },
        _ => null,
    };

    private static int? Number(string number) =>
        int.TryParse(number, NumberStyles.None, CultureInfo.InvariantCulture, out var value) ? value : null;
}

/// <summary>
/// Measures the speed of the server as a share of the best that its core could do, its memory, and the effect of floods
/// on the clients it serves. All is measured in one run, so that other load on the machine affects compared figures
/// alike.
/// </summary>
internal sealed partial class Run(RunArguments arguments, Cores cores, string folder)
{
    private const string Usage = "Usage: scripts/bench/run [--no-install] [--quick] [--json FILE] [--seconds N] [--endure MINUTES]";

    private const string Speed = "Recognised secrets, one client, by Basic";
    private const string Resources = "Start and memory";

    // Sixteen connections keep the server's core busy.
    private const int Connections = 16;

    private readonly Table table = new();
    private readonly string events = Path.Combine(folder, "events");

    public static async Task<int> RunAsync(string[] args)
    {
        if (RunArguments.Parse(args) is not { } arguments)
        {
            await Console.Error.WriteLineAsync(Usage);
            return 2;
        }

        if (!OperatingSystem.IsLinux())
        {
            await Console.Error.WriteLineAsync("This measurement needs Linux, because it uses taskset and /proc.");
            return 1;
        }

        var limit = TimeSpan.FromMinutes((arguments.IsQuick ? 10 : 60) + arguments.EnduranceMinutes);
        return await Measurement.RunAsync(limit, async ct =>
        {
            var folder = Directory.CreateTempSubdirectory("tsvc-bench-");
            try
            {
                var run = new Run(arguments, Cores.Choose(), folder.FullName);
                await run.MeasureAsync(ct);
                run.table.Print(Console.Out);
                if (arguments.Json is { } file)
                    await File.WriteAllTextAsync(file, run.table.Json(), ct);
                return 0;
            }
            finally
            {
                folder.Delete(recursive: true);
            }
        });
    }

    private async Task MeasureAsync(CancellationToken ct)
    {
        var (began, ticks) = (Stopwatch.GetTimestamp(), Ticks());
        Describe();
        await using var postgres = await Postgres.StartAsync(ct, cores.Load);
        var connection = await postgres.MakeDatabaseAsync("bench", ct);
        var rsaConnection = await postgres.MakeDatabaseAsync("bench_rsa", ct);
        await using var database = NpgsqlDataSource.Create(connection);
        await using var rsaDatabase = NpgsqlDataSource.Create(rsaConnection);

        Log("Making clients, on all cores.");
        var one = (await Workload.MakeAsync(database, "one", 1, Workload.DefaultCost, ct))[0];
        var rsaOne = (await Workload.MakeAsync(rsaDatabase, "one", 1, Workload.DefaultCost, ct))[0];
        var firstUses = await Workload.MakeAsync(database, "first", arguments.IsQuick ? 30 : 100, Workload.DefaultCost, ct);
        var newcomers = await Workload.MakeAsync(database, "new", Floods.Count * (arguments.FloodSeconds + 1), Workload.DefaultCost, ct);
        var many = await Workload.MakeAsync(database, "many", 10_000, Workload.Cheapest, ct);
        var rotating = await Workload.AddSecretsAsync(
            database, (await Workload.MakeAsync(database, "rotating", 1, Workload.Cheapest, ct))[0], 49, ct);
        if (cores.Load is { } load)
            Cores.PinSelf(load);

        var answerLength = await MeasureStartsAsync(connection, one, ct);
        await using (var empty = await ServeEmptyAsync(answerLength, one, ct))
        {
            await WarmUpAsync(empty, await Wrk.FileAsync(folder, "one", [one], ct), ct);
            await using (var server = await ServeAsync(connection, one, ct))
            {
                await MeasureAlgorithmAsync("ES256", server, one, empty, ct);
                await MeasureManyAsync(server, one, arguments.IsQuick ? [.. many.Take(1000)] : many, rotating, ct);
                await MeasureEnduranceAsync(server, many, ct);
            }

            await using (var server = await ServeAsync(rsaConnection, rsaOne, ct, ("Keys__Algorithm", "RS256")))
                await MeasureAlgorithmAsync("RS256", server, rsaOne, empty, ct);
        }

        await MeasureFirstUsesAsync(connection, firstUses, ct);
        await MeasureRestartAsync(connection, database, one, many, ct);
        await MeasureFirstStartAsync(connection, database, one, many, ct);
        await MeasureFloodsAsync(connection, database, one, [.. many.Take(10)], many[10], new(newcomers), ct);
        await MeasureHalfSentAsync(connection, one, [.. many.Take(10)], ct);
        var (stolen, all) = Ticks();
        table.Circumstances.Add(
            $"Took {Stopwatch.GetElapsedTime(began).TotalSeconds:F0} s; "
            + $"load of the machine at the end: {LoadAverage()}; "
            + $"of its processors' time the host took {(stolen - ticks.Stolen) / (all - ticks.All):P1}.");
    }

    private void Describe()
    {
        var model = File.ReadLines("/proc/cpuinfo")
            .FirstOrDefault(line => line.StartsWith("model name", StringComparison.Ordinal))?.Split(": ")[1];
        table.Circumstances.Add($"{Environment.ProcessorCount} cores of {model ?? "an unnamed processor"}, "
            + $"{RuntimeInformation.OSDescription}, {RuntimeInformation.FrameworkDescription}.");
        table.Circumstances.Add($"{cores}. Load of the machine at the start: {LoadAverage()}.");
        table.Circumstances.Add($"Measurements of {arguments.Seconds} s over {Connections} connections by wrk, after warming up; floods of "
            + $"{arguments.FloodSeconds} s. The event log goes to a file; under floods to /dev/null.");
    }

    // The ticks that the host gave to other machines while this one had work, and the sum of all ticks.
    private static (double Stolen, double All) Ticks()
    {
        var ticks = File.ReadLines("/proc/stat").First().Split(' ', StringSplitOptions.RemoveEmptyEntries)[1..9]
            .Select(number => double.Parse(number, CultureInfo.InvariantCulture)).ToArray();
        return (ticks[7], ticks.Sum());
    }

    private static string LoadAverage() => string.Join(' ', File.ReadAllText("/proc/loadavg").Split(' ')[..3]);

    private static void Log(string message) => Console.Error.WriteLine(message);

    private Task<ServerProcess> ServeAsync(
        string connection, BenchClient client, CancellationToken ct, params (string Name, string Value)[] settings)
    {
        var all = new Dictionary<string, string> { ["Events__File"] = events };
        foreach (var (name, value) in settings)
            all[name] = value;
        File.Delete(events);
        return ServerProcess.StartAsync(
            TokenServer.StartInfo([TokenServer.Program], Postgres.ForService(connection), all), cores.Server, client.Request, ct);
    }

    /// <returns>The length of the body of a token response, in bytes.</returns>
    private async Task<int> MeasureStartsAsync(string connection, BenchClient client, CancellationToken ct)
    {
        Log("Starts.");
        var starting = arguments.IsQuick ? 1 : 3;
        var (starts, onAllCores, length, idle) = (new List<double>(), new List<double>(), 0, 0.0);
        for (var i = 0; i < starting; i++)
        {
            await using (var server = await ServeAsync(connection, client, ct))
            {
                starts.Add(server.FirstAnswer.TotalSeconds);
                length = server.AnswerLength;
                await Task.Delay(TimeSpan.FromSeconds(arguments.IsQuick ? 1 : 5), ct);
                idle = Math.Max(idle, server.ResidentMiB);
            }

            var start = TokenServer.StartInfo(
                [TokenServer.Program], Postgres.ForService(connection),
                new Dictionary<string, string> { ["Events__File"] = events });
            await using var free = await ServerProcess.StartAsync(start, AllCores(), client.Request, ct);
            onAllCores.Add(free.FirstAnswer.TotalSeconds);
        }

        table.Add(new Row(
            Resources, $"start to first token, on all cores, median of {starting}", Median(onAllCores), "s", 1));
        table.Add(new Row(Resources, $"start to first token, on one core, median of {starting}", Median(starts), "s"));
        table.Add(new Row(Resources, $"resident, idle after one token, maximum of {starting}", idle, "MiB", 100));
        return length;
    }

    private string AllCores() => cores.Server == cores.Load ? cores.Server! : $"{cores.Server},{cores.Load}";

    private Task<ServerProcess> ServeEmptyAsync(int answerLength, BenchClient client, CancellationToken ct)
    {
        table.Circumstances.Add($"K answers with {answerLength} bytes, as the server does with a token.");
        // The empty server uses the runtime settings of TokenService.
        var start = TokenServer.StartInfo(
        [
            "exec", "--runtimeconfig", Path.ChangeExtension(TokenServer.Program, ".runtimeconfig.json"),
            "--depsfile", Path.ChangeExtension(typeof(Run).Assembly.Location, ".deps.json"),
            typeof(Run).Assembly.Location, "empty", $"{answerLength}",
        ]);
        return ServerProcess.StartAsync(start, cores.Server, client.Request, ct);
    }

    /// <summary>
    /// Measures the cryptography alone, per second of the clock and of processor time. Other load on the machine hardly
    /// changes the latter.
    /// </summary>
    private async Task<(double PerSecond, double PerProcessorSecond)> MeasureCryptoAsync(
        double seconds, CancellationToken ct, params string[] command)
    {
        var start = TokenServer.StartInfo(
            [typeof(Run).Assembly.Location, .. command, seconds.ToString(CultureInfo.InvariantCulture)]);
        var numbers = await RunOwnAsync(Cores.Pin(cores.Server, start), ct);
        return (numbers[0], numbers[1]);
    }

    /// <summary>Runs this program as another process, which prints numbers.</summary>
    private static async Task<double[]> RunOwnAsync(ProcessStartInfo start, CancellationToken ct)
    {
        using var process = Process.Start(start)!;
        await using var kill = ct.Register(process.Kill);
        var output = await process.StandardOutput.ReadToEndAsync(ct);
        await process.WaitForExitAsync(ct);
        return [.. output.Split(' ').Select(number => double.Parse(number, CultureInfo.InvariantCulture))];
    }

    /// <summary>
    /// Measures K, S and the server in turn, several times, and takes the medians, so that other load affects all three
    /// alike.
    /// </summary>
    private async Task MeasureAlgorithmAsync(
        string algorithm, ServerProcess server, BenchClient client, ServerProcess empty, CancellationToken ct)
    {
        Log(algorithm);
        var file = await Wrk.FileAsync(folder, "one", [client], ct);
        await WarmUpAsync(server, file, ct);
        EmptyEvents();
        var rounds = new List<Round>();
        var seconds = Math.Max(1, (arguments.Seconds + arguments.Rounds - 1) / arguments.Rounds);
        for (var i = 0; i < arguments.Rounds; i++)
        {
            rounds.Add(new Round(
                await StretchAsync(empty, file, seconds, ct),
                await MeasureCryptoAsync(seconds / 2.0, ct, "signatures", algorithm),
                await StretchAsync(server, file, seconds, ct)));
        }

        Row Figure(
            string section, string what, Func<Round, double> figure, string unit,
            double? target = null, bool isMaximum = true, string? note = null) =>
            new(section, what, Median(rounds.Select(figure)), unit, target, isMaximum, note);

        var share = algorithm == "ES256" ? 80 : 95;
        var size = algorithm == "RS256" ? $", {new Keys.KeyOptions().RsaKeySize} bits" : "";
        table.Add(Figure("Ceiling", $"K: empty minimal API, beside {algorithm}", round => round.Empty.PerSecond, "/s"));
        table.Add(Figure("Ceiling", $"S: signatures, {algorithm}{size}", round => round.Signatures.PerSecond, "/s"));
        table.Add(Figure("Ceiling", $"1 / (1/K + 1/S), {algorithm}", round => round.Ceiling, "/s"));
        table.Add(Figure(Speed, $"{algorithm}: tokens", round => round.Tokens.PerSecond, "/s"));
        table.Add(Figure(
            Speed, $"{algorithm}: share of the ceiling", round => 100 * round.Tokens.PerSecond / round.Ceiling, "%",
            share, isMaximum: false));
        table.Add(Figure(
            Speed, $"{algorithm}: share by processor time", round => 100 * round.ProcessorShare, "%", share,
            isMaximum: false));
        table.Add(Figure(Speed, $"{algorithm}: processor time of a request", round => round.Tokens.Microseconds, "us",
            note: $"K {Row.Number(Median(rounds.Select(round => round.Empty.Microseconds)))}, "
                + $"signature {Row.Number(Median(rounds.Select(round => 1e6 / round.Signatures.PerProcessorSecond)))}"));
        table.Add(Figure(Speed, $"{algorithm}: p50 at full load", round => round.Tokens.Result.P50Microseconds / 1000.0, "ms"));
        table.Add(Figure(Speed, $"{algorithm}: p99 at full load", round => round.Tokens.Result.P99Microseconds / 1000.0, "ms"));
        table.Add(new Row(
            Speed, $"{algorithm}: refused or broken",
            rounds.Sum(round => round.Tokens.Result.Refused + round.Tokens.Result.Broken), "", 0));
        table.Add(Figure(
            Speed, $"{algorithm}: garbage collections",
            round => round.Tokens.Collections / round.Tokens.Result.Seconds, "/s",
            note: $"of {Row.Number(Median(rounds.Select(round => round.Tokens.PauseMilliseconds)))} ms"));
        table.Add(Figure(Speed, $"{algorithm}: allocated per request", round => round.Tokens.Bytes, "bytes",
            note: $"K {Row.Number(Median(rounds.Select(round => round.Empty.Bytes)))}"));
        table.Add(Figure(
            Speed, $"{algorithm}: allocated by our code", round => round.Tokens.Bytes - round.Empty.Bytes, "bytes",
            6 * 1024));

        var rate = Median(rounds.Select(round => round.Tokens.PerSecond)) / 2;
        var half = await HalfAsync(server);
        // The empty server shows how much of the latency comes from the machine and the load.
        var emptyHalf = await HalfAsync(empty);
        table.Add(new Row(
            Speed, $"{algorithm}: p50 at half load", half.P50, "ms",
            Note: $"{rate:F0}/s by a paced, open loop; {half.Failed} failed"));
        table.Add(new Row(Speed, $"{algorithm}: p99 at half load", half.P99, "ms"));
        table.Add(new Row(Speed, $"{algorithm}: p99 / p50 at half load", half.P99 / half.P50, "", 3,
            Note: $"K at the same rate: {Row.Number(emptyHalf.P99)} / {Row.Number(emptyHalf.P50)} ms"));
        table.Add(new Row(Resources, $"resident, maximum under load, {algorithm}", server.PeakMiB, "MiB", 200));

        Task<Latencies> HalfAsync(ServerProcess target) =>
            PacedLoad.RunAsync(
                target.Port, [client.Request], rate, Connections, TimeSpan.FromSeconds(arguments.Seconds), ct);
    }

    private static double Median(IEnumerable<double> figures)
    {
        var sorted = figures.Order().ToArray();
        return (sorted[(sorted.Length - 1) / 2] + sorted[sorted.Length / 2]) / 2;
    }

    /// <summary>
    /// Runs load until tiered compilation has settled: after enough requests, two stretches in succession are no faster
    /// than before. The compiler has the core to itself in the pauses between stretches.
    /// </summary>
    private async Task WarmUpAsync(ServerProcess server, string file, CancellationToken ct)
    {
        var (best, requests, settled) = (double.MaxValue, 0L, 0);
        var maxStretches = arguments.IsQuick ? 5 : 20;
        for (var i = 0; i < maxStretches && settled < 2; i++)
        {
            // Processor time is compared, because on a busy machine the clock would show a slow start.
            var stretch = await StretchAsync(server, file, arguments.IsQuick ? 1 : 5, ct);
            await Task.Delay(TimeSpan.FromMilliseconds(arguments.IsQuick ? 200 : 500), ct);
            requests += stretch.Result.Requests;
            // A slow operation, such as an RSA signature, does not become faster by compilation.
            var isWarm = requests > 50_000 || stretch.Microseconds > 1000 && i > 2;
            settled = isWarm && stretch.Microseconds > best * 0.97 ? settled + 1 : 0;
            best = Math.Min(best, stretch.Microseconds);
        }
    }

    private static async Task<Stretch> StretchAsync(ServerProcess server, string file, int seconds, CancellationToken ct)
    {
        var (before, usedBefore) = (server.Count(), server.ProcessorTime);
        var result = await Wrk.RunAsync(server.Port, file, Connections, seconds, ct);
        var (after, used) = (server.Count(), server.ProcessorTime - usedBefore);
        var collections = after.Collections - before.Collections;
        return new Stretch(
            result,
            used.TotalMicroseconds / result.Requests,
            (after.Allocated - before.Allocated) / result.Requests,
            collections,
            (after.PauseMilliseconds - before.PauseMilliseconds) / Math.Max(1, collections));
    }

    private void EmptyEvents()
    {
        if (File.Exists(events))
            File.WriteAllText(events, "");
    }

    private async Task MeasureManyAsync(
        ServerProcess server, BenchClient one, IReadOnlyList<BenchClient> many, BenchClient rotating, CancellationToken ct)
    {
        const string section = "Tokens/s relative to one client with one secret, in turn with that";
        Log("Many clients, many secrets.");
        var oneClientFile = await Wrk.FileAsync(folder, "one", [one], ct);
        IReadOnlyList<(string Name, BenchClient[] Clients)> cases =
        [
            ($"{many.Count / (arguments.IsQuick ? 10 : 100)} clients", [.. many.Take(many.Count / (arguments.IsQuick ? 10 : 100))]),
            ($"{many.Count:N0} clients{(arguments.IsQuick ? " (10,000 without --quick)" : "")}", [.. many]),
            ("50 live secrets, by the last of them", [rotating]),
        ];
        foreach (var (name, clients) in cases)
        {
            var file = await Wrk.FileAsync(folder, "many", clients, ct);
            // First the server must hash each secret once.
            var recognised = await Wrk.RunAsync(server.Port, file, 32, arguments.IsQuick ? 1 : 5, ct);
            for (var requests = 0L; requests < clients.Length; requests = recognised.Requests)
                recognised = await Wrk.RunAsync(server.Port, file, 32, arguments.IsQuick ? 2 : 20, ct);

            EmptyEvents();
            var shares = new List<(double Clock, double Processor)>();
            var (rate, failed) = (0.0, 0L);
            var seconds = Math.Max(1, arguments.Seconds / arguments.Rounds);
            for (var i = 0; i < arguments.Rounds; i++)
            {
                var before = await StretchAsync(server, oneClientFile, seconds, ct);
                var stretch = await StretchAsync(server, file, seconds, ct);
                shares.Add((stretch.PerSecond / before.PerSecond, before.Microseconds / stretch.Microseconds));
                rate = stretch.PerSecond;
                failed += stretch.Result.Refused + stretch.Result.Broken;
            }

            table.Add(new Row(
                section, name, 100 * Median(shares.Select(share => share.Clock)), "%", 95, IsMaximum: false,
                $"by processor time {100 * Median(shares.Select(share => share.Processor)):F1} %; {rate:F0}/s; "
                    + $"{failed} refused or broken"));
        }
    }

    /// <summary>Measures whether memory grows under minutes of full load with all clients.</summary>
    private async Task MeasureEnduranceAsync(
        ServerProcess server, IReadOnlyList<BenchClient> many, CancellationToken ct)
    {
        if (arguments.EnduranceMinutes == 0)
            return;
        Log($"Load for {arguments.EnduranceMinutes} minutes.");
        var file = await Wrk.FileAsync(folder, "many", many, ct);
        var resident = new List<double>();
        var failed = 0L;
        for (var i = 0; i < arguments.EnduranceMinutes; i++)
        {
            server.ForgetPeak();
            var result = await Wrk.RunAsync(server.Port, file, Connections, 60, ct);
            failed += result.Refused + result.Broken;
            resident.Add(server.PeakMiB);
            EmptyEvents();
        }

        var section = $"{arguments.EnduranceMinutes} minutes of full load, {many.Count:N0} clients";
        table.Add(new Row(section, "resident, maximum in the first minute", resident[0], "MiB"));
        table.Add(new Row(
            section, "resident, maximum in the last minute", resident[^1], "MiB", 200,
            Note: string.Join(' ', resident.Select(Row.Number))));
        table.Add(new Row(section, "refused or broken", failed, "", 0));
    }

    private async Task MeasureFirstUsesAsync(
        string connection, IReadOnlyList<BenchClient> clients, CancellationToken ct)
    {
        const string section = "First use of a secret (m=19456, t=2)";
        Log("First uses.");
        await using var server = await ServeAsync(connection, clients[0], ct, ("Hashing__SecretMemory", "00:00:00"));
        var file = await Wrk.FileAsync(folder, "first", clients, ct);
        await Wrk.RunAsync(server.Port, file, 8, arguments.IsQuick ? 1 : 3, ct);
        var rounds = new List<(double Library, double Tokens, double ProcessorShare)>();
        var failed = 0L;
        var seconds = Math.Max(2, arguments.Seconds / arguments.Rounds);
        for (var i = 0; i < arguments.Rounds; i++)
        {
            var hashes = await MeasureCryptoAsync(seconds / 2.0, ct, "hashes");
            var used = server.ProcessorTime;
            var result = await Wrk.RunAsync(server.Port, file, 8, seconds, ct);
            var perProcessorSecond = result.Requests / (server.ProcessorTime - used).TotalSeconds;
            rounds.Add((hashes.PerSecond, result.PerSecond, perProcessorSecond / hashes.PerProcessorSecond));
            failed += result.Refused + result.Broken;
        }

        table.Add(new Row(section, "the Argon2id library alone", Median(rounds.Select(round => round.Library)), "/s"));
        table.Add(new Row(
            section, "tokens, each hashed", Median(rounds.Select(round => round.Tokens)), "/s",
            Note: $"{failed} refused or broken"));
        table.Add(new Row(
            section, "share", 100 * Median(rounds.Select(round => round.Tokens / round.Library)), "%", 95,
            IsMaximum: false));
        table.Add(new Row(
            section, "share by processor time", 100 * Median(rounds.Select(round => round.ProcessorShare)), "%", 95,
            IsMaximum: false));
    }

    /// <param name="Result">The result of wrk.</param>
    /// <param name="Microseconds">Processor time of a request.</param>
    /// <param name="Bytes">Allocated for a request.</param>
    /// <param name="Collections">The number of garbage collections.</param>
    /// <param name="PauseMilliseconds">The pause of a garbage collection.</param>
    private sealed record Stretch(WrkResult Result, double Microseconds, double Bytes, int Collections, double PauseMilliseconds)
    {
        public double PerSecond => Result.PerSecond;
    }

    private sealed record Round(Stretch Empty, (double PerSecond, double PerProcessorSecond) Signatures, Stretch Tokens)
    {
        public double Ceiling => 1 / (1 / Empty.PerSecond + 1 / Signatures.PerSecond);

        public double ProcessorShare => (Empty.Microseconds + 1e6 / Signatures.PerProcessorSecond) / Tokens.Microseconds;
    }
}
