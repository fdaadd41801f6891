using System.Diagnostics;

namespace TokenService.Bench;

/// <summary>
/// Measures for how long the machine itself stops a thread that never waits. Such stalls are in every latency.
/// </summary>
internal static class Stalls
{
    private static readonly TimeSpan Shortest = TimeSpan.FromMilliseconds(0.3);

    /// <summary>Reads the clock without pause. Prints milliseconds of stalls per second, and the longest, in ms.</summary>
    public static int Measure(double seconds)
    {
        var (began, last, sum, longest) = (Stopwatch.GetTimestamp(), Stopwatch.GetTimestamp(), TimeSpan.Zero, TimeSpan.Zero);
        while (Stopwatch.GetElapsedTime(began, last) < TimeSpan.FromSeconds(seconds))
        {
            var now = Stopwatch.GetTimestamp();
            var pause = Stopwatch.GetElapsedTime(last, now);
            if (pause > Shortest)
                (sum, longest) = (sum + pause, pause > longest ? pause : longest);
            last = now;
        }

        Console.WriteLine(FormattableString.Invariant($"{sum.TotalMilliseconds / seconds:F2} {longest.TotalMilliseconds:F2}"));
        return 0;
    }
}
