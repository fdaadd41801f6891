using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace TokenService.Bench;

/// <param name="Summary">How many, and how they were answered.</param>
/// <param name="PerSecond">Of them.</param>
internal sealed record Flooded(string Summary, double PerSecond);

/// <param name="Name">What comes.</param>
/// <param name="RunAsync">Lets it come, for a number of seconds.</param>
internal sealed record Flood(string Name, Func<int, CancellationToken, Task<Flooded>> RunAsync)
{
    /// <summary>Whether a few seconds of it tell something.</summary>
    public bool MayBeShort { get; init; } = true;
}

/// <summary>Too much of everything, at a server that goes on serving those it knows.</summary>
/// <param name="port">Of the server.</param>
/// <param name="folder">For files.</param>
/// <param name="known">Clients that it recognises.</param>
/// <param name="victim">A client of which somebody tries secrets.</param>
internal sealed class Floods(int port, string folder, IReadOnlyList<BenchClient> known, BenchClient victim)
{
    private const int Connections = 64;
    private const int ManyConnections = 1500;
    private const int IdleConnections = 2000;
    private const int SlowBodies = 500;

    private static readonly byte[] SlowHead = Encoding.ASCII.GetBytes(
        "POST /token HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 1000\r\n\r\n");

    public IReadOnlyList<Flood> All =>
    [
        // Of clients that are recognised: whole secrets, as a guess would look.
        Guesses("well-formed wrong secrets", Many(10_000, n => Known(n) with { Secret = Workload.Guess() })),
        // A typo in one of ours, and those of another system, which have to be hashed for nothing.
        Guesses("malformed secrets", Many(10_000, n =>
            Known(n) with { Secret = n % 2 == 0 ? Workload.Damaged(Known(n).Secret) : Workload.Foreign() })),
        Guesses("unknown clients", Many(100, n => new BenchClient($"nobody-{n}", n % 2 == 0 ? Workload.Guess() : Workload.Foreign()))),
        // Those that name the row of its secret have to be hashed.
        Guesses("one real client id, wrong secrets", Many(10_000, n => victim with
        {
            Secret = (n % 3) switch { 0 => Workload.Guess(), 1 => Workload.GuessAt(victim.Secret), _ => Workload.Foreign() },
        })),
        Guesses("10,000 distinct unknown ids", Many(10_000, n => new BenchClient($"none-{n}", Workload.Guess()))),
        // More than have a turn to be refused within the longest wait for it.
        Guesses("1,500 connections of wrong secrets", Many(10_000, n => Known(n) with { Secret = Workload.Guess() }), ManyConnections)
            with { MayBeShort = false },
        new("2,000 idle connections", IdleAsync),
        new("slow bodies", SlowAsync),
    ];

    private static IEnumerable<BenchClient> Many(int count, Func<int, BenchClient> make) => Enumerable.Range(0, count).Select(make);

    private BenchClient Known(int n) => known[n / 2 % known.Count];

    private Flood Guesses(string name, IEnumerable<BenchClient> guesses, int connections = Connections) => new(name, async (seconds, ct) =>
    {
        var file = await Wrk.FileAsync(folder, "flood", guesses, ct);
        var result = await Wrk.RunAsync(port, file, connections, seconds, ct, isFlood: true);
        var statuses = result.Statuses.OrderByDescending(status => status.Value).Select(status => $"{status.Value} x {status.Key}");
        return new Flooded(string.Join(", ", statuses) + (result.Broken > 0 ? $", {result.Broken} broken" : ""), result.PerSecond);
    });

    private async Task<Flooded> IdleAsync(int seconds, CancellationToken ct)
    {
        using var end = Ending(seconds, ct);
        var opened = 0;
        await Task.WhenAll(Enumerable.Range(0, IdleConnections).Select(_ => UntilAsync(async socket =>
        {
            Interlocked.Increment(ref opened);
            await socket.ReceiveAsync(new byte[1], end.Token);
        }, end.Token)));
        return new Flooded($"{opened} opened", opened / (double)seconds);
    }

    private async Task<Flooded> SlowAsync(int seconds, CancellationToken ct)
    {
        using var end = Ending(seconds, ct);
        var (opened, answered) = (0, 0);
        await Task.WhenAll(Enumerable.Range(0, SlowBodies).Select(_ => UntilAsync(async socket =>
        {
            Interlocked.Increment(ref opened);
            await socket.SendAsync(SlowHead, end.Token);
            while (socket.Available == 0)
            {
                await socket.SendAsync("x"u8.ToArray(), end.Token);
                await Task.Delay(TimeSpan.FromSeconds(1), end.Token);
            }

            Interlocked.Increment(ref answered);
        }, end.Token)));
        return new Flooded($"{opened} begun over {SlowBodies} connections, a byte a second; {answered} answered or closed", opened / (double)seconds);
    }

    private static CancellationTokenSource Ending(int seconds, CancellationToken ct)
    {
        var end = CancellationTokenSource.CreateLinkedTokenSource(ct);
        end.CancelAfter(TimeSpan.FromSeconds(seconds));
        return end;
    }

    // Opens a connection, and when that has ended, another.
    private async Task UntilAsync(Func<Socket, Task> hold, CancellationToken end)
    {
        while (!end.IsCancellationRequested)
        {
            using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
            try
            {
                await socket.ConnectAsync(new IPEndPoint(IPAddress.Loopback, port), end);
                await hold(socket);
            }
            catch (Exception e) when (e is SocketException or OperationCanceledException)
            {
                // It was closed, or it is time.
            }
        }
    }
}

/// <summary>Clients that come for the first time, one after another, for as long as asked; and how long each took to get its token.</summary>
internal sealed class Newcomers(int port, Queue<BenchClient> clients)
{
    private static readonly TimeSpan TryAgainAfter = TimeSpan.FromMilliseconds(250);
    private static readonly TimeSpan NextAfter = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(10);

    public Task<List<TimeSpan>> ComeAsync(TimeSpan time, CancellationToken ct) =>
        Task.Factory.StartNew(() => Come(time, ct), ct, TaskCreationOptions.LongRunning, TaskScheduler.Default);

    private List<TimeSpan> Come(TimeSpan time, CancellationToken ct)
    {
        var (began, took) = (Stopwatch.GetTimestamp(), new List<TimeSpan>());
        while (Stopwatch.GetElapsedTime(began) < time && clients.TryDequeue(out var client))
        {
            ct.ThrowIfCancellationRequested();
            took.Add(Come(client));
            Thread.Sleep(NextAfter);
        }

        return took;
    }

    private TimeSpan Come(BenchClient client)
    {
        var began = Stopwatch.GetTimestamp();
        while (!IsGranted(client) && Stopwatch.GetElapsedTime(began) < Patience)
            Thread.Sleep(TryAgainAfter);
        return Stopwatch.GetElapsedTime(began);
    }

    private bool IsGranted(BenchClient client)
    {
        try
        {
            using var connection = new Connection(port);
            return connection.Ask(client.Request, Patience).Status == 200;
        }
        catch (SocketException)
        {
            return false;
        }
    }
}
