using System.Globalization;

namespace TokenService.Bench;

internal sealed partial class Run
{
    private const string Speed = "Recognised secrets, one client, by Basic";

    private Task<ServerProcess> ServeEmptyAsync(int answerLength, BenchClient client, CancellationToken ct)
    {
        Table.Circumstances.Add($"K answers with {answerLength} bytes, as the server does with a token.");
        // The empty server uses the runtime settings of TokenService.
        var start = TokenServer.StartInfo(
        [
            "exec", "--runtimeconfig", Path.ChangeExtension(TokenServer.Program, ".runtimeconfig.json"),
            "--depsfile", Path.ChangeExtension(typeof(Run).Assembly.Location, ".deps.json"),
            typeof(Run).Assembly.Location, "empty", $"{answerLength}",
        ]);
        return ServerProcess.StartAsync(start, Cores.Server, client.Request, ct);
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
        var file = await Wrk.FileAsync(Folder, "one", [client], ct);
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
            Table.Add(new Row(
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
            Table.Add(new Row(section, what, Median(figures), unit, target, IsMaximum: false, Spread: Quartiles(figures)));
        }

        double[] MicrosecondsOf(int build) => [.. rounds.Select(round => round.Tokens[build].Microseconds)];
    }

    // Only of the JIT build, because the native one runs no start-up hook.
    private void AddCollections(string section, IReadOnlyList<Round> rounds)
    {
        var counted = rounds.Select(round => (Jit: round.Tokens[0], JitCounters: round.Tokens[0].Counters!, round.Empty)).ToList();
        Table.Add(new Row(
            section, "JIT: garbage collections",
            Median(counted.Select(round => round.JitCounters.Collections / round.Jit.Result.Seconds)), "/s",
            Note: $"of {Row.Number(Median(counted.Select(round => round.JitCounters.Pause)))} ms"));
        Table.Add(new Row(
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
            Table.Add(new Row(
                section, $"{build.Name}: p99 / p50 at half load", half.P99 / half.P50, "", 3,
                Note: $"{Row.Number(half.P99)} / {Row.Number(half.P50)} ms at {rate:F0}/s, {half.Failed} failed; "
                    + $"K at this rate {Row.Number(k.P99)} / {Row.Number(k.P50)}"));
        }

        var beside = MeasureStallsAsync(Cores.Load, ct);
        var stalls = await MeasureStallsAsync(Cores.Server, ct);
        await beside;
        Table.Add(new Row(
            section, "stalls of the machine itself, both cores busy", stalls[0], "ms/s", Note: $"longest {Row.Number(stalls[1])} ms"));

        Task<Latencies> HalfAsync(ServerProcess target) => PacedLoad.RunAsync(
            target.Port, [client.Request], rate, Connections, TimeSpan.FromSeconds(arguments.Seconds), ct);
    }

    private Task<double[]> MeasureStallsAsync(string? core, CancellationToken ct) => RunOwnAsync(
        Cores.Pin(core, TokenServer.StartInfo([typeof(Run).Assembly.Location, "stalls", $"{arguments.Seconds}"])), ct);

    private async Task MeasureManyAsync(
        ServerProcess server, BenchClient one, IReadOnlyList<BenchClient> many, BenchClient rotating, CancellationToken ct)
    {
        const string section = "Speed relative to one client with one secret, in turn with that (JIT)";
        Log("Many clients, many secrets.");
        var oneClientFile = await Wrk.FileAsync(Folder, "one", [one], ct);
        IReadOnlyList<(string Name, BenchClient[] Clients)> cases =
        [
            ("100 clients", [.. many.Take(100)]),
            ($"{many.Count:N0} clients", [.. many]),
            ("50 live secrets, by the last of them", [rotating]),
        ];
        foreach (var (name, clients) in cases.Where(one => !arguments.IsQuick || one.Clients.Length == many.Count))
        {
            var file = await Wrk.FileAsync(Folder, "many", clients, ct);
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

            Table.Add(new Row(
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
        var file = await Wrk.FileAsync(Folder, "many", many, ct);
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
        Table.Add(new Row(section, "resident, maximum in the first minute", resident[0], "MiB"));
        Table.Add(new Row(
            section, "resident, maximum in the last minute", resident[^1], "MiB", 200,
            Note: string.Join(' ', resident.Select(Row.Number))));
        Table.Add(new Row(section, "refused or broken", failed, "", 0));
    }

    private async Task MeasureFirstUsesAsync(
        string connection, IReadOnlyList<BenchClient> clients, CancellationToken ct)
    {
        const string section = "First use of a secret (m=19456, t=2)";
        Log("First uses.");
        await using var server = await ServeAsync(Build.Jit, connection, clients[0], ct, ("Hashing__SecretMemory", "00:00:00"));
        var file = await Wrk.FileAsync(Folder, "first", clients, ct);
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

        Table.Add(new Row(section, "the Argon2id library alone", Median(rounds.Select(round => round.Library)), "/s"));
        Table.Add(new Row(
            section, "tokens, each hashed", Median(rounds.Select(round => round.Tokens)), "/s",
            Note: $"{failed} refused or broken"));
        Table.Add(new Row(
            section, "share", 100 * Median(rounds.Select(round => round.Tokens / round.Library)), "%", 95,
            IsMaximum: false));
        Table.Add(new Row(
            section, "share by processor time", 100 * Median(rounds.Select(round => round.ProcessorShare)), "%", 95,
            IsMaximum: false));
    }

    private sealed record Round(
        Stretch Empty, (double PerSecond, double PerProcessorSecond) Signatures, IReadOnlyList<Stretch> Tokens)
    {
        public double ClockShare(int build) => Tokens[build].PerSecond * (1 / Empty.PerSecond + 1 / Signatures.PerSecond);

        public double ProcessorShare(int build) =>
            (Empty.Microseconds + 1e6 / Signatures.PerProcessorSecond) / Tokens[build].Microseconds;
    }
}
