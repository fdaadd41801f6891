using Npgsql;

namespace TokenService.Bench;

/// <param name="IsQuick">Whether to measure less, for less time.</param>
/// <param name="Json">The file that gets the figures; null: none.</param>
/// <param name="RoundsOption">How many rounds; null: as many as is usual.</param>
internal sealed record ProofsArguments(bool IsQuick = false, string? Json = null, int? RoundsOption = null)
{
    /// <summary>How often things that are compared are measured in turn, each for a second.</summary>
    public int Rounds => RoundsOption ?? (IsQuick ? 3 : 6);

    /// <summary>The duration of a load that is not measured in rounds.</summary>
    public int Seconds => IsQuick ? 2 : 5;

    public int FloodSeconds => IsQuick ? 3 : 5;

    /// <returns>Null when the arguments are wrong.</returns>
    public static ProofsArguments? Parse(ReadOnlySpan<string> args) => args switch
    {
        [] => new ProofsArguments(),
        ["--quick", .. var rest] when Parse(rest) is { } others => others with { IsQuick = true },
        ["--json", var file, .. var rest] when Parse(rest) is { } others => others with { Json = file },
        ["--rounds", var number, .. var rest]
            when Parse(rest) is { } others && RunArguments.Number(number) is { } rounds and > 0 and <= 600 =>
            others with { RoundsOption = rounds },
        _ => null,
    };
}

/// <summary>
/// Measures what client assertions (RFC 7523) and DPoP proofs (RFC 9449) cost the server and PostgreSQL, how many
/// assertions two replicas record, and the effect of floods of bad ones on recognised clients. Each assertion and each
/// proof works once, so all are signed before the load that sends them. JIT build.
/// </summary>
internal sealed partial class Proofs(ProofsArguments arguments, Cores cores, string folder)
    : ServerMeasurement(cores, folder, arguments.IsQuick)
{
    private const string Usage = "Usage: scripts/bench/proofs [--no-install] [--quick] [--json FILE] [--rounds N]";

    public static async Task<int> RunAsync(string[] args)
    {
        if (ProofsArguments.Parse(args) is not { } arguments)
        {
            await Console.Error.WriteLineAsync(Usage);
            return 2;
        }

        return await RunAsync(
            TimeSpan.FromMinutes(arguments.IsQuick ? 15 : 30), arguments.Json, (cores, folder) => new Proofs(arguments, cores, folder));
    }

    protected override async Task MeasureAsync(CancellationToken ct)
    {
        Table.Circumstances.Add(
            $"{arguments.Rounds} rounds, each of a second for each of what is compared, over {Connections} connections by wrk, after "
            + "warming up; medians, and the quartiles of the rounds in brackets. "
            + $"Floods of {arguments.FloodSeconds} s. JIT build.");
        if (arguments.IsQuick)
            Table.Circumstances.Add("Quick: no PS256, because so many RSA signatures take long to make.");
        Table.Circumstances.Add(
            "Assertions and proofs are signed before each load, on all cores. The event log goes to a file; with two replicas and "
            + "under floods to /dev/null. No limit is raised: Limits:, Assertions: and Dpop: have their defaults.");
        Table.Circumstances.Add(
            "PostgreSQL is a throwaway one: fsync, synchronous_commit and full_page_writes are off. A real one writes more bytes.");
        await using var postgres = await Postgres.StartAsync(ct, Cores.Load);
        var connection = await postgres.MakeDatabaseAsync("bench", ct);
        await using var database = NpgsqlDataSource.Create(connection);
        var known = await Workload.MakeAsync(database, "known", 10, Workload.DefaultCost, ct);
        var keyClients = await Workload.MakeKeyClientsAsync(
            database, ct, ("es256", "ES256"), ("ps256", "PS256"), ("attacked", "ES256"));
        if (Cores.Load is { } load)
            Cores.PinSelf(load);

        await MeasureTokensAsync(connection, database, known[0], keyClients[0], keyClients[1], ct);
        await MeasureReplicasAsync(connection, database, known, keyClients[0], ct);
        await MeasureFloodsAsync(connection, known, keyClients[2], ct);
    }
}
