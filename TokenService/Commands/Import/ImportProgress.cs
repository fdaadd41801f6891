using System.Globalization;

namespace TokenService.Commands;

/// <summary>
/// Says how far an import is: on a terminal in one line that is written again and again, elsewhere in a line every 10
/// seconds.
/// </summary>
internal sealed class ImportProgress(TextWriter output, bool isTerminal, int total, TimeProvider clock)
{
    private const int BarLength = 30;

    private readonly long start = clock.GetTimestamp();
    private readonly TimeSpan interval = TimeSpan.FromSeconds(isTerminal ? 0.2 : 10);
    private long shownAt = clock.GetTimestamp();
    private bool isOpen;

    public void Report(int done)
    {
        if (total == 0 || (clock.GetElapsedTime(shownAt) < interval && !(isTerminal && done == total)))
            return;
        shownAt = clock.GetTimestamp();
        var elapsed = clock.GetElapsedTime(start);
        var rate = done / Math.Max(elapsed.TotalSeconds, 0.001);
        var left = done == 0 ? "" : $", {Shown(elapsed * ((double)(total - done) / done))} left";
        var text = string.Create(CultureInfo.InvariantCulture, $"{done} of {total} clients, {rate:0.0} a second{left}");
        if (isTerminal)
        {
            var full = (int)((long)BarLength * done / total);
            // Then the rest of a longer line before is erased.
            output.Write($"\r[{new string('#', full)}{new string('.', BarLength - full)}] {text}\e[K");
            isOpen = true;
        }
        else
        {
            output.WriteLine(text);
        }
    }

    /// <summary>Ends the line on a terminal, so that other text may follow.</summary>
    public void End()
    {
        if (isOpen)
            output.WriteLine();
        isOpen = false;
    }

    public static string Shown(TimeSpan time) => time switch
    {
        { TotalHours: >= 1 } => $"{(int)time.TotalHours} h {time.Minutes} min",
        { TotalMinutes: >= 1 } => $"{time.Minutes} min {time.Seconds} s",
        _ => $"{Math.Ceiling(time.TotalSeconds)} s",
    };
}
