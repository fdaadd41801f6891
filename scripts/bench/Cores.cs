using System.Diagnostics;

namespace TokenService.Bench;

/// <summary>The cores of the server and of the load, so that neither takes processor time from the other.</summary>
/// <param name="Server">The core of the server; null: nothing is pinned.</param>
/// <param name="Load">The core of the load and of PostgreSQL.</param>
internal sealed record Cores(string? Server, string? Load)
{
    /// <summary>Chooses the first two cores that this process may use. If there is only one, both share it.</summary>
    public static Cores Choose()
    {
        var allowed = File.ReadLines("/proc/self/status").Single(line => line.StartsWith("Cpus_allowed_list:", StringComparison.Ordinal));
        var cores = allowed.Split(':')[1].Trim().Split(',').SelectMany(Expand).Take(2).ToList();
        return new Cores($"{cores[0]}", $"{cores[^1]}");
    }

    public override string ToString() => Server == Load
        ? $"server and load share core {Server}, because there is no other: the figures are lower than with two cores"
        : $"server on core {Server}; load and PostgreSQL on core {Load}";

    /// <summary>Runs the same command on these cores only.</summary>
    public static ProcessStartInfo Pin(string? cores, ProcessStartInfo start)
    {
        if (cores is null)
            return start;

        return By(start, "taskset", "--cpu-list", cores);
    }

    /// <summary>Runs the same command at low priority, so that other load on its core is not slowed.</summary>
    public static ProcessStartInfo Yielding(ProcessStartInfo start) => By(start, "nice", "-n", "10");

    /// <summary>Pins all threads of this process, and threads and processes that they start.</summary>
    public static void PinSelf(string cores)
    {
        using var taskset = Process.Start(new ProcessStartInfo(
            "taskset", ["--all-tasks", "--cpu-list", "--pid", cores, $"{Environment.ProcessId}"])
        { RedirectStandardOutput = true })!;
        taskset.StandardOutput.ReadToEnd();
        taskset.WaitForExit();
        if (taskset.ExitCode != 0)
            throw new InvalidOperationException("taskset could not pin the load to its core.");
    }

    private static ProcessStartInfo By(ProcessStartInfo start, string program, params string[] options)
    {
        foreach (var argument in options.Append(start.FileName).Reverse())
            start.ArgumentList.Insert(0, argument);
        start.FileName = program;
        return start;
    }

    private static IEnumerable<int> Expand(string range)
    {
        var ends = range.Split('-').Select(int.Parse).ToArray();
        return Enumerable.Range(ends[0], ends[^1] - ends[0] + 1);
    }
}
