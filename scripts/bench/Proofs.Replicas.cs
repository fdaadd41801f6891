using System.Diagnostics;
using Npgsql;

namespace TokenService.Bench;

internal sealed partial class Proofs
{
    private const int ReplicaConnections = 64;

    // A core is saturated from here on; the rest is lost in reading the two clocks.
    private const double Saturated = 95;

    private const string Sizes = """
        select
            (select count(*) from token_service.used_jti),
            pg_relation_size('token_service.used_jti'),
            pg_relation_size('token_service.used_jti_pkey'),
            pg_relation_size('token_service.used_jti_expires_at')
        """;

    private static readonly int[] Rates = [1000, 2000, 5000];

    /// <summary>Measures two replicas that record assertions in one database, beside recognised secrets at one of them.</summary>
    private async Task MeasureReplicasAsync(
        string connection, NpgsqlDataSource database, IReadOnlyList<BenchClient> known, KeyClient client, CancellationToken ct)
    {
        Log("Two replicas.");
        var quiet = ("Events__File", "/dev/null");
        await using var one = await ServeAsync(Build.Jit, connection, known[0], ct, quiet);
        await using var other = await ServeAsync(Build.Jit, connection, known[0], ct, quiet);
        ServerProcess[] replicas = [one, other];
        var usage = await PostgresUsage.FindAsync(database, ct);
        var file = await Wrk.FileAsync(Folder, "known", known, ct);
        var warm = new TokenKind("ES256 assertion", () => client.Line());
        foreach (var replica in replicas)
        {
            await WarmUpAsync(replica, file, ct);
            await MeasureKindAsync(replica, usage, warm, ct);
            await MeasureKindAsync(replica, usage, warm, ct);
        }

        await ServeKnownAsync(one, known, 1, ct);
        var serversUsed = ProcessorSeconds(replicas);
        var calm = await ServeKnownAsync(one, known, arguments.Seconds, ct);
        var calmShare = 100 * (ProcessorSeconds(replicas) - serversUsed) / arguments.Seconds;
        AddCalm("Two replicas, no assertions", calm);
        foreach (var rate in Rates)
            await MeasureRateAsync(rate, replicas, usage, known, client, calm, calmShare, ct);
        await AddSizesAsync(database, ct);
    }

    private async Task MeasureRateAsync(
        int rate, ServerProcess[] replicas, PostgresUsage usage, IReadOnlyList<BenchClient> known, KeyClient client, Latencies calm,
        double calmShare, CancellationToken ct)
    {
        var section = $"Two replicas, {rate:N0} assertions/s offered, half to each, beside {KnownPerSecond} requests/s of recognised "
            + "clients to one";
        Log(section);
        var requests = MakeOnAllCores(rate * arguments.Seconds, client.Request).Chunk(rate * arguments.Seconds / replicas.Length).ToArray();
        var (began, busy, used) = (Stopwatch.GetTimestamp(), CoreTimes.Read(), await usage.ReadAsync(ct));
        var serversUsed = ProcessorSeconds(replicas);
        var loads = replicas.Zip(requests, (replica, own) => PacedLoad.RunAsync(
            replica.Port, own, rate / (double)replicas.Length, ReplicaConnections, TimeSpan.FromSeconds(arguments.Seconds), ct,
            mustRest: true)).ToArray();
        var served = await ServeKnownAsync(replicas[0], known, arguments.Seconds, ct);
        var answered = await Task.WhenAll(loads);
        var seconds = Math.Max(arguments.Seconds, Stopwatch.GetElapsedTime(began).TotalSeconds);
        var (postgres, servers) = ((await usage.ReadAsync(ct)).ProcessorTimeSince(used).TotalSeconds,
            ProcessorSeconds(replicas) - serversUsed);
        var all = new Latencies(
            answered.Sum(load => load.Sent), answered.Sum(load => load.Failed),
            [.. answered.SelectMany(load => load.Milliseconds).Order()]);

        Table.Add(new Row(
            section, "assertions answered with a token", all.Milliseconds.Length / seconds, "/s",
            Note: $"{all.Failed} of {all.Sent} failed"));
        Table.Add(new Row(section, "assertions: p50", all.P50, "ms"));
        Table.Add(new Row(section, "assertions: p99", all.P99, "ms", Note: $"worst {Row.Number(all.P100)} ms"));
        Table.Add(new Row(section, "recognised: failures", served.Failed, "", 0, Note: $"of {served.Sent}"));
        Table.Add(new Row(section, "recognised: p50", served.P50, "ms", Note: $"without assertions {Row.Number(calm.P50)} ms"));
        Table.Add(new Row(
            section, "recognised: p99", served.P99, "ms",
            Note: $"without assertions {Row.Number(calm.P99)} ms; worst {Row.Number(served.P100)} ms"));
        Table.Add(new Row(
            section, "processor time of the replicas", 100 * servers / seconds, "%",
            Note: $"of a core, without assertions {Row.Number(calmShare)} %; PostgreSQL {Row.Number(100 * postgres / seconds)} %"));
        AddBusy(section, busy);
    }

    private static double ProcessorSeconds(ServerProcess[] replicas) => replicas.Sum(replica => replica.ProcessorTime.TotalSeconds);

    // The busiest core limits what is achieved.
    private void AddBusy(string section, CoreTimes before)
    {
        var shares = CoreTimes.Read().BusySince(before);
        var (server, load) = (shares[Cores.Server!], shares[Cores.Load!]);
        var saturated = (server >= Saturated, load >= Saturated) switch
        {
            (true, true) => "both are saturated",
            (true, false) => "the core of the replicas is saturated",
            (false, true) => "the core of the load and PostgreSQL is saturated",
            _ => "neither is saturated",
        };
        Table.Add(new Row(
            section, "busiest core", Math.Max(server, load), "%",
            Note: $"replicas' {Row.Number(server)} %, load's and PostgreSQL's {Row.Number(load)} %: {saturated}"));
    }

    private async Task AddSizesAsync(NpgsqlDataSource database, CancellationToken ct)
    {
        const string section = "used_jti after all of that";
        await using var command = database.CreateCommand(Sizes);
        await using var reader = await command.ExecuteReaderAsync(ct);
        await reader.ReadAsync(ct);
        var (rows, table, key, index) = (reader.GetInt64(0), reader.GetInt64(1), reader.GetInt64(2), reader.GetInt64(3));
        Table.Add(new Row(section, "rows", rows, ""));
        AddSize("table", table);
        AddSize("index of the primary key", key);
        AddSize("index of expires_at", index);
        Table.Add(new Row(section, "a row, in the table and both indexes", (table + key + index) / (double)rows, "bytes"));

        void AddSize(string what, long bytes) => Table.Add(new Row(
            section, what, bytes / 1024.0 / 1024, "MiB", Note: $"{Row.Number(bytes / (double)rows)} bytes a row"));
    }
}
