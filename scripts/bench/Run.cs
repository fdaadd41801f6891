using System.Globalization;
using Npgsql;

namespace TokenService.Bench;

/// <param name="Native">The file of the native build.</param>
/// <param name="IsQuick">Whether to measure less, for less time.</param>
/// <param name="Json">The file that gets the figures; null: none.</param>
/// <param name="Svg">The file that gets the chart; null: none.</param>
/// <param name="RoundsOption">How many rounds; null: as many as is usual.</param>
/// <param name="EnduranceMinutes">How long full load lasts in the end; zero: there is none.</param>
internal sealed record RunArguments(
    string Native, bool IsQuick = false, string? Json = null, string? Svg = null, int? RoundsOption = null, int EnduranceMinutes = 0)
{
    /// <summary>How often things that are compared are measured in turn, each for a second.</summary>
    public int Rounds => RoundsOption ?? (IsQuick ? 6 : 12);

    /// <summary>The duration of a load that is not measured in rounds.</summary>
    public int Seconds => IsQuick ? 2 : 5;

    public int FloodSeconds => IsQuick ? 3 : 5;

    /// <summary>How many clients are many.</summary>
    public int Clients => IsQuick ? 1_000 : 10_000;

    /// <returns>Null when the arguments are wrong.</returns>
    public static RunArguments? Parse(ReadOnlySpan<string> args) => args switch
    {
        ["--quick", .. var rest] when Parse(rest) is { } others => others with { IsQuick = true },
        ["--json", var file, .. var rest] when Parse(rest) is { } others => others with { Json = file },
        ["--svg", var file, .. var rest] when Parse(rest) is { } others => others with { Svg = file },
        ["--rounds", var number, .. var rest]
            when Parse(rest) is { } others && Number(number) is { } rounds and > 0 and <= 600 =>
            others with { RoundsOption = rounds },
        ["--endure", var number, .. var rest]
            when Parse(rest) is { } others && Number(number) is { } minutes and > 1 and <= 60 =>
            others with { EnduranceMinutes = minutes },
        // scripts/bench/run adds it.
        ["--native", var file] => new RunArguments(file),
        _ => null,
    };

    /// <returns>Null when it is none.</returns>
    public static int? Number(string number) =>
        int.TryParse(number, NumberStyles.None, CultureInfo.InvariantCulture, out var value) ? value : null;
}

/// <summary>
/// Measures the speed of both builds of the server as a share of the best that its core could do, their memory, and the
/// effect of floods on the clients they serve. All is measured in one run, so that other load on the machine affects
/// compared figures alike.
/// </summary>
internal sealed partial class Run(RunArguments arguments, Cores cores, string folder)
    : ServerMeasurement(cores, folder, arguments.IsQuick)
{
    private const string Usage =
        "Usage: scripts/bench/run [--no-install] [--quick] [--json FILE] [--svg FILE] [--rounds N] [--endure MINUTES]";

    private const string Memories = "Memory";

    private readonly Build native = Build.Native(arguments.Native);
    private Chart? chart; // once the figures are there

    public static async Task<int> RunAsync(string[] args)
    {
        if (RunArguments.Parse(args) is not { } arguments)
        {
            await Console.Error.WriteLineAsync(Usage);
            return 2;
        }

        var limit = TimeSpan.FromMinutes((arguments.IsQuick ? 10 : 60) + arguments.EnduranceMinutes);
        return await RunAsync(limit, arguments.Json, (cores, folder) => new Run(arguments, cores, folder));
    }

    protected override async Task MeasureAsync(CancellationToken ct)
    {
        Describe();
        await using var postgres = await Postgres.StartAsync(ct, Cores.Load);
        var connection = await postgres.MakeDatabaseAsync("bench", ct);
        var rsaConnection = await postgres.MakeDatabaseAsync("bench_rsa", ct);
        await using var database = NpgsqlDataSource.Create(connection);
        await using var rsaDatabase = NpgsqlDataSource.Create(rsaConnection);

        Log("Making clients, on all cores.");
        var one = (await Workload.MakeAsync(database, "one", 1, Workload.DefaultCost, ct))[0];
        var rsaOne = (await Workload.MakeAsync(rsaDatabase, "one", 1, Workload.DefaultCost, ct))[0];
        var firstUses = arguments.IsQuick ? [] : await Workload.MakeAsync(database, "first", 100, Workload.DefaultCost, ct);
        var floods = arguments.IsQuick ? Floods.QuickCount : Floods.Count;
        var newcomers = await Workload.MakeAsync(database, "new", 2 * floods * arguments.FloodSeconds, Workload.DefaultCost, ct);
        var many = await Workload.MakeAsync(database, "many", arguments.Clients, Workload.Cheapest, ct);
        var rotating = await Workload.AddSecretsAsync(
            database, (await Workload.MakeAsync(database, "rotating", 1, Workload.Cheapest, ct))[0], 49, ct);
        if (Cores.Load is { } load)
            Cores.PinSelf(load);

        var answerLength = await MeasureStartsAsync(connection, one, ct);
        await using (var empty = await ServeEmptyAsync(answerLength, one, ct))
        {
            await WarmUpAsync(empty, await Wrk.FileAsync(Folder, "one", [one], ct), ct);
            await using (var jit = await ServeAsync(Build.Jit, connection, one, ct))
            await using (var file = await ServeAsync(native, connection, one, ct))
            {
                await MeasureAlgorithmAsync("ES256", [(Build.Jit, jit), (native, file)], one, empty, ct);
                await MeasureManyAsync(jit, one, many, rotating, ct);
                await MeasureEnduranceAsync(jit, many, ct);
            }

            if (!arguments.IsQuick)
            {
                var rs256 = ("Keys__Algorithm", "RS256");
                await using var jit = await ServeAsync(Build.Jit, rsaConnection, rsaOne, ct, rs256);
                await using var file = await ServeAsync(native, rsaConnection, rsaOne, ct, rs256);
                await MeasureAlgorithmAsync("RS256", [(Build.Jit, jit), (native, file)], rsaOne, empty, ct);
            }
        }

        await MeasureRestartAsync(connection, database, one, many, ct);
        if (!arguments.IsQuick)
        {
            await MeasureFirstUsesAsync(connection, firstUses, ct);
            await MeasureFirstStartAsync(connection, database, one, many, ct);
        }

        foreach (var (build, fresh) in new[] { Build.Jit, native }.Zip(newcomers.Chunk(newcomers.Count / 2)))
            await MeasureFloodsAsync(build, connection, database, one, [.. many.Take(10)], many[10], new(fresh), ct);
        if (!arguments.IsQuick)
            await MeasureHalfSentAsync(connection, one, [.. many.Take(10)], ct);
        if (arguments.Svg is { } svg)
            await File.WriteAllTextAsync(svg, chart!.Svg(), ct);
    }

    private void Describe() => Table.Circumstances.Add(
        $"{arguments.Rounds} rounds, each of a second for each of what is compared, over {Connections} connections "
        + $"by wrk, after warming up; medians, and the quartiles of the rounds in brackets. Floods of {arguments.FloodSeconds} s. "
        + "The event log goes to a file; under floods to /dev/null.");
}
