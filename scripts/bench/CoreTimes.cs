using System.Globalization;

namespace TokenService.Bench;

/// <summary>How long each core of the machine was busy, in ticks since its start, by all processes.</summary>
internal sealed class CoreTimes
{
    private readonly Dictionary<string, (double Busy, double All)> cores;

    private CoreTimes(Dictionary<string, (double Busy, double All)> cores) => this.cores = cores;

    public static CoreTimes Read() => new(File.ReadLines("/proc/stat")
        .Select(line => line.Split(' ', StringSplitOptions.RemoveEmptyEntries))
        .Where(words => words is [['c', 'p', 'u', _, ..], ..])
        .ToDictionary(words => words[0]["cpu".Length..], words =>
        {
            var ticks = words[1..9].Select(word => double.Parse(word, CultureInfo.InvariantCulture)).ToArray();
            return (ticks.Sum() - ticks[3] - ticks[4], ticks.Sum()); // idle, and waiting for a disk
        }));

    /// <returns>The share in percent, by the number of the core.</returns>
    public IReadOnlyDictionary<string, double> BusySince(CoreTimes before) => cores.ToDictionary(
        core => core.Key,
        core => 100 * (core.Value.Busy - before.cores[core.Key].Busy) / Math.Max(1, core.Value.All - before.cores[core.Key].All));
}
