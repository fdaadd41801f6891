using System.Globalization;

namespace TokenService.Bench;

internal sealed partial class Run
{
    private const string Speed = "Recognised secrets, one client, by Basic";

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

    /// <summary>
    /// Measures K, S and the builds in turn, many times, and takes the medians, so that other load affects all of them
    /// alike.
    /// </summary>
    private async Task MeasureAlgorithmAsync(
        string algorithm, IReadOnlyList<(Build Build, ServerProcess Server)> servers, BenchClient client, ServerProcess empty,
        CancellationToken ct)
    {
        Log(algorithm);
        var file = await Wrk.FileAsync(folder, "one", [client], ct);
        foreach (var (_, server) in servers)
            await WarmUpAsync(server, file, ct);
        EmptyEvents();
        var rounds = new List<Round>();
        // An RSA signature takes so long that a few rounds show its share.
        var count = algorithm == "RS256" ? Math.Max(1, arguments.Rounds / 3) : arguments.Rounds;
        for (var i = 0; i < count; i++)
        {
            var k = await StretchAsync(empty, file, ct, isRepeated: true);
            var s = await MeasureCryptoAsync(0.5, ct, "signatures", algorithm);
            var tokens = new List<Stretch>();
            foreach (var (_, server) in servers)
                tokens.Add(await StretchAsync(server, file, ct, isRepeated: true));
            rounds.Add(new Round(k, s, tokens));
            EmptyEvents();
        }

        var section = $"{Speed}, {algorithm}";
        var size = algorithm == "RS256" ? $", {new Keys.KeyOptions().RsaKeySize} bits" : "";
        Add("K: empty minimal API, processor time", round => round.Empty.Microseconds, "us");
        Add($"S: signature{size}, processor time", round => 1e6 / round.Signatures.PerProcessorSecond, "us");
        foreach (var (i, (build, _)) in servers.Index())
        {
            double target = algorithm == "RS256" ? 95 : build == native ? 75 : 80;
            Add($"{build.Name}: processor time of a token", round => round.Tokens[i].Microseconds, "us");
            Add($"{build.Name}: share of the ceiling, by processor time", round => 100 * round.ProcessorShare(i), "%", target);
            Add($"{build.Name}: share of the ceiling, by the clock", round => 100 * round.ClockShare(i), "%");
            Add($"{build.Name}: tokens", round => round.Tokens[i].PerSecond, "/s");
            Add($"{build.Name}: p50 at full load", round => round.Tokens[i].Result.P50Microseconds / 1000.0, "ms");
            table.Add(new Row(
                section, $"{build.Name}: refused or broken",
                rounds.Sum(round => round.Tokens[i].Result.Refused + round.Tokens[i].Result.Broken), "", 0));
            if (build == native)
            {
                Add(
                    "native relative to JIT, by processor time",
                    round => 100 * round.Tokens[0].Microseconds / round.Tokens[i].Microseconds, "%", 95);
            }
        }

        AddCollections(section, rounds);
        await MeasureHalfLoadAsync(section, servers, client, empty, Median(rounds.Select(round => round.Tokens[0].PerSecond)) / 2, ct);
        foreach (var (build, server) in servers)
            AddPeak(build, $"maximum under load, {algorithm}", server.PeakMiB, $"then {Row.Number(server.ResidentMiB)}");

        if (algorithm == "ES256")
        {
            chart = new Chart(
                "Processor time of a token, ES256, one core (share of the ceiling)",
                Median(rounds.Select(round => round.Empty.Microseconds)),
                Median(rounds.Select(round => 1e6 / round.Signatures.PerProcessorSecond)),
                [.. servers.Select((server, i) => new Bar(server.Build.Name, Median(MicrosecondsOf(i)), Quartiles(MicrosecondsOf(i))))]);
        }

        void Add(string what, Func<Round, double> figure, string unit, double? target = null)
        {
            double[] figures = [.. rounds.Select(figure)];
            table.Add(new Row(section, what, Median(figures), unit, target, IsMaximum: false, Spread: Quartiles(figures)));
        }

        double[] MicrosecondsOf(int build) => [.. rounds.Select(round => round.Tokens[build].Microseconds)];
    }

    // Only of the JIT build, because the native one runs no start-up hook.
    private void AddCollections(string section, IReadOnlyList<Round> rounds)
    {
        var counted = rounds.Select(round => (Jit: round.Tokens[0], JitCounters: round.Tokens[0].Counters!, round.Empty)).ToList();
        table.Add(new Row(
            section, "JIT: garbage collections",
            Median(counted.Select(round => round.JitCounters.Collections / round.Jit.Result.Seconds)), "/s",
            Note: $"of {Row.Number(Median(counted.Select(round => round.JitCounters.Pause)))} ms"));
        table.Add(new Row(
            section, "JIT: allocated by our code for a token",
            Median(counted.Select(round => round.Jit.AllocatedBytes - round.Empty.AllocatedBytes)), "bytes", 6 * 1024,
            Note: $"K {Row.Number(Median(counted.Select(round => round.Empty.AllocatedBytes)))}"));
    }

    /// <summary>
    /// Measures latency at half load. The empty server at the same rate, and a thread that only reads the clock, show how
    /// much of it comes from the machine.
    /// </summary>
    private async Task MeasureHalfLoadAsync(
        string section, IReadOnlyList<(Build Build, ServerProcess Server)> servers, BenchClient client, ServerProcess empty,
        double rate, CancellationToken ct)
    {
        var k = await HalfAsync(empty);
        foreach (var (build, server) in servers)
        {
            var half = await HalfAsync(server);
            table.Add(new Row(
                section, $"{build.Name}: p99 / p50 at half load", half.P99 / half.P50, "", 3,
                Note: $"{Row.Number(half.P99)} / {Row.Number(half.P50)} ms at {rate:F0}/s, {half.Failed} failed; "
                    + $"K at this rate {Row.Number(k.P99)} / {Row.Number(k.P50)}"));
        }

        var beside = MeasureStallsAsync(cores.Load, ct);
        var stalls = await MeasureStallsAsync(cores.Server, ct);
        await beside;
        table.Add(new Row(
            section, "stalls of the machine itself, both cores busy", stalls[0], "ms/s", Note: $"longest {Row.Number(stalls[1])} ms"));

        Task<Latencies> HalfAsync(ServerProcess target) => PacedLoad.RunAsync(
            target.Port, [client.Request], rate, Connections, TimeSpan.FromSeconds(arguments.Seconds), ct);
    }

    private Task<double[]> MeasureStallsAsync(string? core, CancellationToken ct) => RunOwnAsync(
        Cores.Pin(core, TokenServer.StartInfo([typeof(Run).Assembly.Location, "stalls", $"{arguments.Seconds}"])), ct);

    /// <summary>
    /// Runs load until tiered compilation has settled: after enough requests, two stretches in succession are no faster
    /// than before. The compiler has the core to itself in the pauses between stretches.
    /// </summary>
    private async Task WarmUpAsync(ServerProcess server, string file, CancellationToken ct)
    {
        var (best, requests, settled) = (double.MaxValue, 0L, 0);
        for (var i = 0; i < (arguments.IsQuick ? 8 : 16) && settled < 2; i++)
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

    private static async Task<Stretch> StretchAsync(ServerProcess server, string file, CancellationToken ct, bool isRepeated = false)
    {
        var (before, usedBefore) = (await server.CountAsync(), server.ProcessorTime);
        var result = await Wrk.RunAsync(server.Port, file, Connections, seconds: 1, ct, isRepeated: isRepeated);
        var (after, used) = (await server.CountAsync(), server.ProcessorTime - usedBefore);
        return new Stretch(result, used.TotalMicroseconds / result.Requests, after?.Since(before!));
    }

    private async Task MeasureManyAsync(
        ServerProcess server, BenchClient one, IReadOnlyList<BenchClient> many, BenchClient rotating, CancellationToken ct)
    {
        const string section = "Speed relative to one client with one secret, in turn with that (JIT)";
        Log("Many clients, many secrets.");
        var oneClientFile = await Wrk.FileAsync(folder, "one", [one], ct);
        IReadOnlyList<(string Name, BenchClient[] Clients)> cases =
        [
            ("100 clients", [.. many.Take(100)]),
            ($"{many.Count:N0} clients", [.. many]),
            ("50 live secrets, by the last of them", [rotating]),
        ];
        foreach (var (name, clients) in cases.Where(one => !arguments.IsQuick || one.Clients.Length == many.Count))
        {
            var file = await Wrk.FileAsync(folder, "many", clients, ct);
            // First the server must hash each secret once.
            var recognised = await Wrk.RunAsync(server.Port, file, 32, arguments.IsQuick ? 1 : 5, ct);
            for (var requests = 0L; requests < clients.Length; requests = recognised.Requests)
                recognised = await Wrk.RunAsync(server.Port, file, 32, arguments.IsQuick ? 2 : 20, ct);

            EmptyEvents();
            var shares = new List<double>();
            var clock = new List<double>();
            var failed = 0L;
            for (var i = 0; i < Math.Max(1, arguments.Rounds / 2); i++)
            {
                var before = await StretchAsync(server, oneClientFile, ct);
                var stretch = await StretchAsync(server, file, ct);
                shares.Add(100 * before.Microseconds / stretch.Microseconds);
                clock.Add(100 * stretch.PerSecond / before.PerSecond);
                failed += stretch.Result.Refused + stretch.Result.Broken;
            }

            table.Add(new Row(
                section, $"{name}: by processor time", Median(shares), "%", 95, IsMaximum: false,
                $"by the clock {Row.Number(Median(clock))} %; {failed} refused or broken", Quartiles(shares)));
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
        await using var server = await ServeAsync(Build.Jit, connection, clients[0], ct, ("Hashing__SecretMemory", "00:00:00"));
        var file = await Wrk.FileAsync(folder, "first", clients, ct);
        await Wrk.RunAsync(server.Port, file, 8, seconds: 3, ct);
        var rounds = new List<(double Library, double Tokens, double ProcessorShare)>();
        var failed = 0L;
        const int seconds = 2;
        for (var i = 0; i < 6; i++)
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
    /// <param name="Counters">The garbage collector's figures of that second; null: they are not known.</param>
    private sealed record Stretch(WrkResult Result, double Microseconds, Counters? Counters)
    {
        public double PerSecond => Result.PerSecond;

        /// <summary>Allocated for a request, where it is counted.</summary>
        public double AllocatedBytes => Counters!.Allocated / Result.Requests;
    }

    private sealed record Round(
        Stretch Empty, (double PerSecond, double PerProcessorSecond) Signatures, IReadOnlyList<Stretch> Tokens)
    {
        public double ClockShare(int build) => Tokens[build].PerSecond * (1 / Empty.PerSecond + 1 / Signatures.PerSecond);

        public double ProcessorShare(int build) =>
            (Empty.Microseconds + 1e6 / Signatures.PerProcessorSecond) / Tokens[build].Microseconds;
    }
}
