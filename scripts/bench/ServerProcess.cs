using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace TokenService.Bench;

/// <summary>The garbage collector's figures since the process started.</summary>
/// <param name="Allocated">In bytes.</param>
/// <param name="Collections">The number of collections of generation 0.</param>
/// <param name="PauseMilliseconds">The sum of all pauses.</param>
internal sealed record Counters(double Allocated, int Collections, double PauseMilliseconds)
{
    /// <summary>The mean pause, in milliseconds.</summary>
    public double Pause => PauseMilliseconds / Math.Max(1, Collections);

    public Counters Since(Counters before) => new(
        Allocated - before.Allocated, Collections - before.Collections, PauseMilliseconds - before.PauseMilliseconds);
}

/// <summary>The memory of a process, in MiB.</summary>
/// <param name="Resident">All that is in memory.</param>
/// <param name="Private">The part that it shares with no other process: its heaps, and files that only it maps.</param>
internal readonly record struct Memory(double Resident, double Private);

/// <summary>A server process on its core, with its memory, processor time and garbage collections.</summary>
internal sealed class ServerProcess : IAsyncDisposable
{
    private static readonly TimeSpan MaxWait = TimeSpan.FromSeconds(30);

    private readonly Process process;
    private readonly string? counters; // a named pipe; null: nobody counts
    private readonly Queue<string> lastLines = new();

    private ServerProcess(ProcessStartInfo start, string? core)
    {
        Port = FreePort();
        start.Environment["ASPNETCORE_URLS"] = $"http://127.0.0.1:{Port}";
        if (start.FileName == "dotnet") // a native build runs no start-up hook
        {
            counters = Path.Combine(Path.GetTempPath(), $"tsvc-bench-{Port}.counters");
            using (var made = Process.Start("mkfifo", ["-m", "600", counters]))
                made.WaitForExit();
            start.Environment["DOTNET_STARTUP_HOOKS"] = typeof(ServerProcess).Assembly.Location;
            start.Environment[StartupHook.Variable] = counters;
        }

        process = Process.Start(Cores.Pin(core, start))!;
        process.BeginOutputReadLine();
        if (!start.RedirectStandardError)
            return;
        process.ErrorDataReceived += (_, line) => Keep(line.Data);
        process.BeginErrorReadLine();
    }

    public int Port { get; }

    /// <summary>The time from the start of the process to the end of the first answer with status 200.</summary>
    public TimeSpan FirstAnswer { get; private set; }

    /// <summary>The length of that answer's body, in bytes.</summary>
    public int AnswerLength { get; private set; }

    /// <summary>The processor time used so far, on all cores.</summary>
    public TimeSpan ProcessorTime
    {
        get
        {
            process.Refresh();
            return process.TotalProcessorTime;
        }
    }

    /// <summary>The number of log lines so far.</summary>
    public int Lines { get; private set; }

    /// <summary>The kernel's sums over all mappings of the process.</summary>
    public Memory Memory
    {
        get
        {
            var rollup = File.ReadAllLines($"/proc/{process.Id}/smaps_rollup");
            return new(
                Read(rollup, "Rss:"), Read(rollup, "Private_Clean:") + Read(rollup, "Private_Dirty:"));
        }
    }

    public double ResidentMiB => Memory.Resident;

    /// <summary>The maximum of <see cref="ResidentMiB"/> since <see cref="ForgetPeak"/> or the start.</summary>
    public double PeakMiB => Read(File.ReadAllLines($"/proc/{process.Id}/status"), "VmHWM:");

    /// <param name="start">The command.</param>
    /// <param name="core">The core that the server may use; null: all.</param>
    /// <param name="request">A request that the server answers with 200 once it is ready.</param>
    /// <param name="ct">Ends the start.</param>
    public static async Task<ServerProcess> StartAsync(ProcessStartInfo start, string? core, byte[] request, CancellationToken ct)
    {
        var began = Stopwatch.GetTimestamp();
        var server = new ServerProcess(start, core);
        try
        {
            while (!server.Answers(request))
            {
                if (server.process.HasExited || Stopwatch.GetElapsedTime(began) > MaxWait)
                    throw new InvalidOperationException($"A server did not start:\n{server.LastLogLines()}");
                await Task.Delay(TimeSpan.FromMilliseconds(2), ct);
            }

            server.FirstAnswer = Stopwatch.GetElapsedTime(began);
            return server;
        }
        catch
        {
            await server.DisposeAsync();
            throw;
        }
    }

    public void ForgetPeak() => File.WriteAllText($"/proc/{process.Id}/clear_refs", "5");

    /// <returns>Null: a native build runs no start-up hook, so nobody counts.</returns>
    /// <exception cref="TimeoutException">The server has ended.</exception>
    public async Task<Counters?> CountAsync()
    {
        if (counters is null)
            return null;
        // To open a pipe takes until there is a writer, and nothing interrupts it.
        var line = await Task.Run(() => ReadLine(counters)).WaitAsync(MaxWait);
        var numbers = line.Split(' ').Select(word => double.Parse(word, CultureInfo.InvariantCulture)).ToArray();
        return new Counters(numbers[0], (int)numbers[1], numbers[2]);
    }

    /// <summary>The last lines of its log, for a person to read.</summary>
    public string LastLogLines()
    {
        lock (lastLines)
            return string.Join('\n', lastLines);
    }

    public async ValueTask DisposeAsync()
    {
        process.Kill();
        await process.WaitForExitAsync();
        process.Dispose();
        if (counters is not null)
            File.Delete(counters);
    }

    private static string ReadLine(string pipe)
    {
        while (true)
        {
            using var reader = new StreamReader(pipe, Encoding.ASCII);
            if (reader.ReadLine() is { } line)
                return line;
            // The server was about to close the pipe after an earlier reader.
        }
    }

    private static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }

    private bool Answers(byte[] request)
    {
        try
        {
            using var connection = new Connection(Port);
            var answer = connection.Ask(request, MaxWait);
            AnswerLength = answer.BodyLength;
            return answer.Status == 200;
        }
        catch (SocketException)
        {
            return false;
        }
    }

    // Linux gives these fields in KiB.
    private static double Read(string[] lines, string field)
    {
        var line = lines.Single(line => line.StartsWith(field, StringComparison.Ordinal));
        return double.Parse(line[field.Length..].Replace("kB", "", StringComparison.Ordinal), CultureInfo.InvariantCulture) / 1024;
    }

    private void Keep(string? line)
    {
        if (line is null)
            return;
        lock (lastLines)
        {
            Lines++;
            lastLines.Enqueue(line);
            if (lastLines.Count > 10)
                lastLines.Dequeue();
        }
    }
}
