namespace TokenService.Bench;

internal sealed partial class Proofs
{
    private async Task MeasureFloodsAsync(
        string connection, IReadOnlyList<BenchClient> known, KeyClient attacked, CancellationToken ct)
    {
        Log("Floods.");
        await using var server = await ServeAsync(Build.Jit, connection, known[0], ct, ("Events__File", "/dev/null"));
        await WarmUpAsync(server, await Wrk.FileAsync(Folder, "known", known, ct), ct);
        using (var own = new Connection(server.Port))
        {
            if (own.Ask(attacked.Request(), TimeSpan.FromSeconds(5)).Status != 200)
                throw new InvalidOperationException("A client with a right assertion got no token.");
        }

        await ServeKnownAsync(server, known, 1, ct);
        var calm = await ServeKnownAsync(server, known, arguments.Seconds, ct);
        AddCalm("Floods, calm", calm);
        foreach (var flood in new ProofFloods(server.Port, Folder, attacked, known[^1], MakeOnAllCores).All)
        {
            var section = $"Flood beside {KnownPerSecond} requests/s of recognised clients: {flood.Name}";
            Log(section);
            await flood.PrepareAsync(ct);
            server.ForgetPeak();
            var lines = server.Lines;
            var flooding = flood.RunAsync(arguments.FloodSeconds, ct);
            await Task.Delay(TimeSpan.FromMilliseconds(500), ct);
            var served = await ServeKnownAsync(server, [.. known.SkipLast(1)], arguments.FloodSeconds - 1, ct);
            AddServed(section, await flooding, served, calm);
            Table.Add(new Row(
                section, "resident, maximum", server.PeakMiB, "MiB", 200, Note: $"then {Row.Number(server.ResidentMiB)}"));
            if (server.Lines > lines)
                Table.Add(new Row(section, "lines in its log", server.Lines - lines, "", Note: Message(server.LastLogLines())));
            await Task.Delay(TimeSpan.FromSeconds(arguments.IsQuick ? 0.3 : 1), ct);
        }
    }
}
