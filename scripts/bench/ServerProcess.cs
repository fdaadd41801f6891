using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace TokenService.Bench;

/// <param name="Allocated">Bytes, ever.</param>
/// <param name="Collections">Of generation 0, ever.</param>
/// <param name="FullCollections">Of generation 2, ever.</param>
/// <param name="PauseMilliseconds">In all of them.</param>
internal sealed record Counters(double Allocated, int Collections, int FullCollections, double PauseMilliseconds);

/// <summary>A server on its core, and what can be seen of it from without.</summary>
internal sealed class ServerProcess : IAsyncDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    private readonly Process process;
    private readonly string socket;
    private readonly Queue<string> said = new();

    private ServerProcess(ProcessStartInfo start, string? core)
    {
        Port = FreePort();
        socket = Path.Combine(Path.GetTempPath(), $"tsvc-bench-{Port}.socket");
        start.Environment["ASPNETCORE_URLS"] = $"http://127.0.0.1:{Port}";
        start.Environment["DOTNET_STARTUP_HOOKS"] = typeof(ServerProcess).Assembly.Location;
        start.Environment[StartupHook.Variable] = socket;
        process = Process.Start(Cores.Pin(core, start))!;
        process.BeginOutputReadLine();
        if (!start.RedirectStandardError)
            return;
        process.ErrorDataReceived += (_, line) => Keep(line.Data);
        process.BeginErrorReadLine();
    }

    public int Port { get; }

    /// <summary>From the process being started to the end of the first answer that was a 200.</summary>
    public TimeSpan FirstAnswer { get; private set; }

    /// <summary>Body of that answer, in bytes.</summary>
    public int AnswerLength { get; private set; }

    /// <summary>That it has used so far, on whatever core.</summary>
    public TimeSpan ProcessorTime
    {
        get
        {
            process.Refresh();
            return process.TotalProcessorTime;
        }
    }

    /// <summary>Lines in its log so far.</summary>
    public int Lines { get; private set; }

    public double ResidentMiB => Status("VmRSS:");

    /// <summary>The most it was since <see cref="ForgetPeak"/>, or ever.</summary>
    public double PeakMiB => Status("VmHWM:");

    /// <param name="start">How.</param>
    /// <param name="core">Where; null: anywhere.</param>
    /// <param name="request">Which it will answer with 200 once it works.</param>
    /// <param name="ct">Ends it.</param>
    public static async Task<ServerProcess> StartAsync(ProcessStartInfo start, string? core, byte[] request, CancellationToken ct)
    {
        var began = Stopwatch.GetTimestamp();
        var server = new ServerProcess(start, core);
        try
        {
            while (!server.Answers(request))
            {
                if (server.process.HasExited || Stopwatch.GetElapsedTime(began) > Patience)
                    throw new InvalidOperationException($"A server did not start:\n{server.LastWords()}");
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

    public Counters Count()
    {
        using var counters = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        counters.Connect(new UnixDomainSocketEndPoint(socket));
        var buffer = new byte[200];
        var words = Encoding.ASCII.GetString(buffer, 0, counters.Receive(buffer)).Split(' ');
        var numbers = words.Select(word => double.Parse(word, CultureInfo.InvariantCulture)).ToArray();
        return new Counters(numbers[0], (int)numbers[1], (int)numbers[2], numbers[3]);
    }

    /// <summary>What it said last, for a person.</summary>
    public string LastWords()
    {
        lock (said)
            return string.Join('\n', said);
    }

    public async ValueTask DisposeAsync()
    {
        process.Kill();
        await process.WaitForExitAsync();
        process.Dispose();
        File.Delete(socket);
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
            var answer = connection.Ask(request, Patience);
            AnswerLength = answer.BodyLength;
            return answer.Status == 200;
        }
        catch (SocketException)
        {
            return false;
        }
    }

    // In KiB there.
    private double Status(string field)
    {
        var line = File.ReadLines($"/proc/{process.Id}/status").Single(line => line.StartsWith(field, StringComparison.Ordinal));
        return double.Parse(line[field.Length..].Replace("kB", "", StringComparison.Ordinal), CultureInfo.InvariantCulture) / 1024;
    }

    private void Keep(string? line)
    {
        if (line is null)
            return;
        lock (said)
        {
            Lines++;
            said.Enqueue(line);
            if (said.Count > 10)
                said.Dequeue();
        }
    }
}
