using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Text;
using Npgsql;

namespace TokenService.Bench;

/// <param name="Summary">How many requests or connections were made, and how they were answered.</param>
/// <param name="PerSecond">Requests or connections per second.</param>
internal sealed record Flooded(string Summary, double PerSecond);

/// <param name="Name">The name of this flood in the table.</param>
/// <param name="RunAsync">Runs the flood for a number of seconds.</param>
internal sealed record Flood(string Name, Func<int, CancellationToken, Task<Flooded>> RunAsync)
{
    /// <summary>Runs before the flood, and is not measured.</summary>
    public Func<CancellationToken, Task> PrepareAsync { get; init; } = _ => Task.CompletedTask;

    /// <summary>Whether this flood is one of a quick run.</summary>
    public bool IsQuick { get; init; }
}

/// <summary>
/// Floods of requests and connections, beside which the server must go on serving recognised clients.
/// </summary>
/// <param name="port">The server's port.</param>
/// <param name="folder">The folder for files of credentials.</param>
/// <param name="known">Clients whose secrets the server has verified.</param>
/// <param name="victim">The client whose secret an attacker tries to guess.</param>
/// <param name="database">The server's database.</param>
internal sealed class Floods(
    int port, string folder, IReadOnlyList<BenchClient> known, BenchClient victim, NpgsqlDataSource database)
{
    /// <summary>The number of <see cref="All"/>.</summary>
    public const int Count = 11;

    /// <summary>The number of those with <see cref="Flood.IsQuick"/>.</summary>
    public const int QuickCount = 2;

    private const int Connections = 64;
    private const int ManyConnections = 1500;
    private const int IdleConnections = 2000;
    private const int SlowBodies = 500;
    private const int Probes = 300;
    private const int Readers = 500;
    private const int MinListLength = 159_000;

    // 2,400 revoked tokens and 2,222 clients take 119,994 characters of JSON, of 120,000 that the list may have.
    private const string FillList = """
        insert into token_service.revoked_token (jti, client_id, expires_at)
        select 'dead' || to_char(n, 'FM000000000000000000'), 'revoking', now() + interval '1 hour'
        from generate_series(1, 2400) as n
        on conflict do nothing;

        insert into token_service.self_revocation (client_id, not_before)
        select 'revoked-' || to_char(n, 'FM00000'), now()
        from generate_series(1, 2222) as n
        on conflict do nothing
        """;

    private static readonly string[] Health = ["GET /healthz/ready", "GET /healthz/live"];
    private static readonly string[] List = ["GET /revoked-tokens"];

    private static readonly byte[] SlowHead = Encoding.ASCII.GetBytes(
        "POST /token HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 1000\r\n\r\n");

    public IReadOnlyList<Flood> All =>
    [
        // The secrets are well-formed and the clients are those that the server recognises.
        WrongCredentials("well-formed wrong secrets", Repeat(10_000, n => Known(n) with { Secret = Workload.Guess() }))
            with { IsQuick = true },
        // Half are generated secrets with a typo. Half look like secrets of another system, which the server must hash.
        WrongCredentials("malformed secrets", Repeat(10_000, n =>
            Known(n) with { Secret = n % 2 == 0 ? Workload.Damaged(Known(n).Secret) : Workload.Foreign() })),
        WrongCredentials(
            "unknown clients",
            Repeat(100, n => new BenchClient($"nobody-{n}", n % 2 == 0 ? Workload.Guess() : Workload.Foreign()))),
        // The server must hash a secret that has the selector of the victim's row.
        WrongCredentials("one real client id, wrong secrets", Repeat(10_000, n => victim with
        {
            Secret = (n % 3) switch { 0 => Workload.Guess(), 1 => Workload.GuessAt(victim.Secret), _ => Workload.Foreign() },
        })),
        // Every request has another client_id, which nobody has.
        Requests("distinct invented ids, generated secrets", Repeat(10_000, _ => $"NEW {Workload.Guess()}"), Connections),
        // The server must hash these secrets.
        Requests("distinct invented ids, other secrets", Repeat(10_000, _ => $"NEW {Workload.Foreign()}"), Connections),
        // There are more connections than the server refuses within its maximum delay of a refusal.
        WrongCredentials(
            "1,500 connections of wrong secrets", Repeat(10_000, n => Known(n) with { Secret = Workload.Guess() }),
            ManyConnections),
        new("2,000 idle connections", IdleAsync) { IsQuick = true },
        new("slow bodies", SlowAsync),
        Requests("300 connections that ask for health", Health, Probes),
        Requests("500 connections that read the longest list of revoked tokens", List, Readers)
            with { PrepareAsync = FillListAsync },
    ];

    private static IEnumerable<T> Repeat<T>(int count, Func<int, T> make) => Enumerable.Range(0, count).Select(make);

    private BenchClient Known(int n) => known[n / 2 % known.Count];

    private Flood WrongCredentials(string name, IEnumerable<BenchClient> credentials, int connections = Connections) =>
        Requests(name, credentials.Select(client => client.Basic), connections);

    // The lines are as load.lua says.
    private Flood Requests(string name, IEnumerable<string> lines, int connections) =>
        new(name, (seconds, ct) => Wrk.FloodAsync(port, folder, lines, connections, seconds, ct));

    private async Task FillListAsync(CancellationToken ct)
    {
        await using (var fill = database.CreateCommand(FillList))
            await fill.ExecuteNonQueryAsync(ct);
        // The server must have the new list, and have done with the notifications of the rows.
        await Task.Delay(TimeSpan.FromSeconds(2), ct);
        using var http = new HttpClient(new SocketsHttpHandler { UseProxy = false });
        var list = await http.GetByteArrayAsync(new Uri($"http://127.0.0.1:{port}/revoked-tokens"), ct);
        if (list.Length < MinListLength)
            throw new InvalidOperationException($"The list of revoked tokens has only {list.Length} characters.");
    }

    private async Task<Flooded> IdleAsync(int seconds, CancellationToken ct)
    {
        using var end = EndAfter(seconds, ct);
        var opened = 0;
        await Task.WhenAll(Enumerable.Range(0, IdleConnections).Select(_ => HoldConnectionsAsync(async socket =>
        {
            Interlocked.Increment(ref opened);
            await socket.ReceiveAsync(new byte[1], end.Token);
        }, end.Token)));
        return new Flooded($"{opened} opened", opened / (double)seconds);
    }

    private async Task<Flooded> SlowAsync(int seconds, CancellationToken ct)
    {
        using var end = EndAfter(seconds, ct);
        var (opened, answered) = (0, 0);
        await Task.WhenAll(Enumerable.Range(0, SlowBodies).Select(_ => HoldConnectionsAsync(async socket =>
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
        return new Flooded(
            $"{opened} begun over {SlowBodies} connections, a byte a second; {answered} answered or closed",
            opened / (double)seconds);
    }

    private static CancellationTokenSource EndAfter(int seconds, CancellationToken ct)
    {
        var end = CancellationTokenSource.CreateLinkedTokenSource(ct);
        end.CancelAfter(TimeSpan.FromSeconds(seconds));
        return end;
    }

    // Opens a connection, and a new one whenever it has ended.
    private async Task HoldConnectionsAsync(Func<Socket, Task> hold, CancellationToken end)
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
                // The server closed the connection, or the flood is over.
            }
        }
    }
}

/// <summary>
/// Clients that request their first token, one after another. Measures how long each takes to get it.
/// </summary>
internal sealed class Newcomers(int port, Queue<BenchClient> clients)
{
    private static readonly TimeSpan RetryInterval = TimeSpan.FromMilliseconds(250);
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan MaxWait = TimeSpan.FromSeconds(10);

    public Task<List<TimeSpan>> MeasureAsync(TimeSpan time, CancellationToken ct) =>
        Task.Factory.StartNew(() => Measure(time, ct), ct, TaskCreationOptions.LongRunning, TaskScheduler.Default);

    private List<TimeSpan> Measure(TimeSpan time, CancellationToken ct)
    {
        var (began, durations) = (Stopwatch.GetTimestamp(), new List<TimeSpan>());
        while (Stopwatch.GetElapsedTime(began) < time && clients.TryDequeue(out var client))
        {
            ct.ThrowIfCancellationRequested();
            durations.Add(GetToken(client));
            Thread.Sleep(Interval);
        }

        return durations;
    }

    private TimeSpan GetToken(BenchClient client)
    {
        var began = Stopwatch.GetTimestamp();
        while (!IsGranted(client) && Stopwatch.GetElapsedTime(began) < MaxWait)
            Thread.Sleep(RetryInterval);
        return Stopwatch.GetElapsedTime(began);
    }

    private bool IsGranted(BenchClient client)
    {
        try
        {
            using var connection = new Connection(port);
            return connection.Ask(client.Request, MaxWait).Status == 200;
        }
        catch (SocketException)
        {
            return false;
        }
    }
}
