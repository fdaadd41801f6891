namespace TokenService.Bench;

internal sealed partial class Run
{
    private TimeSpan IdleTime => TimeSpan.FromSeconds(arguments.IsQuick ? 2 : 5);

    /// <returns>The length of the body of a token response, in bytes.</returns>
    private async Task<int> MeasureStartsAsync(string connection, BenchClient client, CancellationToken ct)
    {
        Log("Starts.");
        var (starting, length) = (arguments.IsQuick ? 2 : 7, 0);
        var builds = new[] { Build.Jit, native }.Select(build => (Build: build, Starts: new List<Start>())).ToList();
        for (var i = 0; i < starting; i++)
        {
            foreach (var (build, starts) in builds)
            {
                await using var server = await ServeAsync(build, AllCores(), connection, client, ct);
                (var start, length) = (new Start(server), server.AnswerLength);
                if (i == 0)
                    await Task.Delay(IdleTime, ct);
                starts.Add(i == 0 ? start with { Idle = server.Memory } : start);
            }
        }

        foreach (var (build, starts) in builds)
        {
            var isNative = build == native;
            AddStart("processor time", start => start.ProcessorSeconds);
            AddStart("time", start => start.Seconds, isNative ? 0.15 : 1);
            AddMemory(build, "with the first token", starts[0].AtFirst, 0, null);
            AddMemory(build, $"idle, {IdleTime.TotalSeconds:F0} s later", starts[0].Idle, isNative ? 50 : 100, null);

            void AddStart(string what, Func<Start, double> figure, double? target = null)
            {
                double[] figures = [.. starts.Select(figure)];
                table.Add(new Row(
                    "From the start to the first token, on all cores", $"{build.Name}: {what}, median of {starting}", Median(figures), "s",
                    target, Note: $"best {Row.Number(figures.Min())}", Spread: Quartiles(figures)));
            }
        }

        return length;
    }

    private void AddMemory(Build build, string when, Memory memory, double target, string? note) => table.Add(new Row(
        Memories, $"{build.Name}: resident, {when}", memory.Resident, "MiB", target == 0 ? null : target,
        Note: note ?? $"of it private {Row.Number(memory.Private)}"));

    private sealed record Start(double Seconds, double ProcessorSeconds, Memory AtFirst)
    {
        public Start(ServerProcess server)
            : this(server.FirstAnswer.TotalSeconds, server.ProcessorTime.TotalSeconds, server.Memory)
        {
        }

        public Memory Idle { get; init; }
    }
}
