using System.Diagnostics;

namespace TokenService.Bench;

/// <summary>Who computes where, so that what is measured and what measures do not take each other's time.</summary>
/// <param name="Server">The core of the server; null: nothing is pinned.</param>
/// <param name="Load">The core of whoever asks it, and of PostgreSQL.</param>
internal sealed record Cores(string? Server, string? Load)
{
    /// <summary>The first two of those this process may use; of one core, both share it.</summary>
    public static Cores Choose()
    {
        var allowed = File.ReadLines("/proc/self/status").Single(line => line.StartsWith("Cpus_allowed_list:", StringComparison.Ordinal));
        var cores = allowed.Split(':')[1].Trim().Split(',').SelectMany(Expand).Take(2).ToList();
        return new Cores($"{cores[0]}", $"{cores[^1]}");
    }

    public override string ToString() => Server == Load
        ? $"server and load share core {Server}, for want of another: read the figures with that in mind"
        : $"server on core {Server}; load and PostgreSQL on core {Load}";

    /// <summary>The same command, on these cores alone.</summary>
    public static ProcessStartInfo Pin(string? cores, ProcessStartInfo start)
    {
        if (cores is null)
            return start;

        foreach (var argument in new[] { "--cpu-list", cores, start.FileName }.Reverse())
            start.ArgumentList.Insert(0, argument);
        start.FileName = "taskset";
        return start;
    }

    /// <summary>All threads of this process, and those that they start.</summary>
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

    private static IEnumerable<int> Expand(string range)
    {
        var ends = range.Split('-').Select(int.Parse).ToArray();
        return Enumerable.Range(ends[0], ends[^1] - ends[0] + 1);
    }
}
