namespace TokenService.Bench;

internal sealed partial class Run
{
    private TimeSpan IdleTime => TimeSpan.FromSeconds(arguments.IsQuick ? 2 : 5);

    /// <returns>The length of the body of a token response, in bytes.</returns>
    private async Task<int> MeasureStartsAsync(string connection, BenchClient client, CancellationToken ct)
    {
        Log("Starts.");
        Build[] builds = [Build.Jit, native];
        var (length, starts) = (0, new List<(Build Build, double Seconds, double ProcessorSeconds)>());
        for (var i = 0; i < (arguments.IsQuick ? 2 : 7); i++)
        {
            foreach (var build in builds)
            {
                await using var server = await ServeAsync(build, AllCores(), connection, client, ct);
                starts.Add((build, server.FirstAnswer.TotalSeconds, server.ProcessorTime.TotalSeconds));
                length = server.AnswerLength;
            }
        }

        foreach (var build in builds)
        {
            var those = starts.Where(start => start.Build == build).ToList();
            AddStart($"{build.Name}: processor time", [.. those.Select(start => start.ProcessorSeconds)], null);
            AddStart($"{build.Name}: time", [.. those.Select(start => start.Seconds)], build == native ? 0.15 : 1);
            await MeasureIdleAsync(build, connection, client, ct);
        }

        return length;
    }

    private void AddStart(string what, double[] figures, double? target) => Table.Add(new Row(
        "From the start to the first token, on all cores", $"{what}, median of {figures.Length}", Median(figures), "s",
        target, Note: $"best {Row.Number(figures.Min())}", Spread: Quartiles(figures)));

    private async Task MeasureIdleAsync(Build build, string connection, BenchClient client, CancellationToken ct)
    {
        await using var server = await ServeAsync(build, connection, client, ct);
        Add("with the first token", server.Memory, target: null);
        await Task.Delay(IdleTime, ct);
        Add($"idle, {IdleTime.TotalSeconds:F0} s later", server.Memory, build == native ? 50 : 100);

        void Add(string when, Memory memory, double? target) => Table.Add(new Row(
            Memories, $"{build.Name}: resident, {when}", memory.Resident, "MiB", target,
            Note: $"of it private {Row.Number(memory.Private)}"));
    }

    private void AddPeak(Build build, string when, double peak, string? note = null) =>
        Table.Add(new Row(Memories, $"{build.Name}: resident, {when}", peak, "MiB", MaxMiB(build), Note: note));

    private double MaxMiB(Build build) => build == native ? 100 : 200;
}
