using System.ComponentModel.DataAnnotations;
using System.Globalization;

namespace TokenService.Limits;

/// <summary>Limits, which each replica applies for itself. Section <c>Limits</c>.</summary>
internal sealed class LimitOptions
{
    public const string Section = "Limits";

    // About the most that was measured: TLS, with headers and a body of nearly 16 KiB each. An idle one takes 8 KiB,
    // over TLS 50.
    private const int MemoryOfConnection = 128 * 1024;

    // Files that this process needs for everything else: programs, connections to the database, the event log.
    private const int OtherFiles = 500;

    /// <summary>
    /// Wrong secrets that are hashed per minute, and in one burst, for one client or for one generated secret from one
    /// source address, 1 to 10000. Default 10: a burst of 10, then one every 6 seconds. All addresses together may
    /// present ten times as many, and addresses that have not failed in the last 10 minutes as many again as one.
    /// </summary>
    [Range(1, 10_000, ErrorMessage = "Limits:FailuresPerClient must be 1 to 10000.")]
    public int FailuresPerClient { get; set; } = 10;

    /// <summary>
    /// The same for one source address or one IPv6 /64 network. Default 100: a burst of 100, then one every 0.6
    /// seconds.
    /// </summary>
    [Range(1, 10_000, ErrorMessage = "Limits:FailuresPerSource must be 1 to 10000.")]
    public int FailuresPerSource { get; set; } = 100;

    /// <summary>
    /// Refusals per second to callers that were not authenticated, and as many public documents, 10 to 100000. Default
    /// 500. When there are more, each answer waits for its turn, at most 2 seconds. When 10,000 answers wait, the next
    /// one is sent at once.
    /// </summary>
    [Range(10, 100_000, ErrorMessage = "Limits:RefusalsPerSecond must be 10 to 100000.")]
    public int RefusalsPerSecond { get; set; } = 500;

    /// <summary>
    /// Requests whose body has arrived and whose answer is not known yet, 16 to 100000. Default 4096. One more gets
    /// 503.
    /// </summary>
    [Range(16, 100_000, ErrorMessage = "Limits:RequestsInFlight must be 16 to 100000.")]
    public int RequestsInFlight { get; set; } = 4096;

    /// <summary>
    /// Open connections, 64 to 100000. When one more is accepted, connections that do no work are closed. Default: as
    /// many as fit in a quarter of the memory, 500 to 20000. In both cases no more than <see cref="MaxByFiles"/>.
    /// </summary>
    [Range(64, 100_000, ErrorMessage = "Limits:Connections must be 64 to 100000.")]
    public int Connections { get; set; } =
        DefaultConnections(GC.GetGCMemoryInfo().TotalAvailableMemoryBytes, MaxOpenFiles());

    /// <param name="memory">The memory that this process may use, in bytes; in a container, less than its limit.</param>
    /// <param name="openFiles">How many files, sockets included, this process may open.</param>
    internal static int DefaultConnections(long memory, int openFiles) =>
        Math.Min((int)Math.Clamp(memory / 4 / MemoryOfConnection, 500, 20_000), MaxByFiles(openFiles));

    /// <summary>
    /// How many connections the files allow that this process may open. Up to half as many more are being closed, and a
    /// process that can open no file may be ended by the runtime.
    /// </summary>
    internal static int MaxByFiles(int openFiles) => Math.Max(64, (openFiles - OtherFiles) / 3 * 2);

    // The first of the two numbers in the line is the limit in force, which the runtime has raised as far as it may.
    internal static int MaxOpenFiles()
    {
        const string path = "/proc/self/limits", name = "Max open files";
        if (!File.Exists(path))
            return int.MaxValue;
        var line = File.ReadLines(path).First(line => line.StartsWith(name, StringComparison.Ordinal));
        var values = line[name.Length..].Split(' ', StringSplitOptions.RemoveEmptyEntries);
        return int.TryParse(values[0], CultureInfo.InvariantCulture, out var max) ? max : int.MaxValue;
    }
}
