using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;
using Npgsql;

namespace TokenService.Bench;

/// <summary>
/// Two real replicas on a PostgreSQL of their own. Each reaches it through a link on which the connection that listens for notifications
/// can be made to hear nothing more, without being told, while all others go on. In a trial a client is asked for on both replicas without
/// pause, its withdrawal is committed in the midst of that, and the figure is the time from there to the answer, of the slower replica, that
/// was the first to obey and was followed by no grant. The last grant was asked for before that, so the figure errs on the long side.
/// </summary>
internal static class Bounds
{
    private const string Usage = "Usage: scripts/bench/bounds [--no-install] [--trials 200] [--silent-trials 20] [--json FILE]";

    public static async Task<int> RunAsync(string[] args)
    {
        if (BoundsArguments.Parse(args) is not { } arguments)
        {
            await Console.Error.WriteLineAsync(Usage);
            return 2;
        }

        return await Measurement.RunAsync(TimeSpan.FromMinutes(15), async ct =>
        {
            var results = await MeasureAsync(arguments, ct);
            Report.Print(results, Console.Out);
            if (arguments.Json is { } file)
                await File.WriteAllTextAsync(file, Report.Json(results), ct);
            return results.All(result => result.IsHeld) ? 0 : 1;
        });
    }

    private static async Task<IReadOnlyList<Result>> MeasureAsync(BoundsArguments arguments, CancellationToken ct)
    {
        await using var postgres = await Postgres.StartAsync(ct);
        await TokenServer.RunAsync(["migrate"], "", postgres.ConnectionString, ct);
        await using var database = NpgsqlDataSource.Create(postgres.ConnectionString);
        var clients = await Clients.MakeAsync(database, Withdrawal.All.Length * (arguments.Trials + arguments.SilentTrials), ct);
        await using var one = await Replica.StartAsync(postgres.ConnectionString, ct);
        await using var other = await Replica.StartAsync(postgres.ConnectionString, ct);
        var bench = new Trials(database, clients, [one, other]);

        var results = new List<Result>();
        foreach (var withdrawal in Withdrawal.All)
        {
            Console.Error.WriteLine($"{withdrawal.Kind}, {arguments.Trials} times");
            results.Add(new Result(withdrawal.Kind, Listener.Up, await bench.HeardAsync(withdrawal, arguments.Trials, ct)));
        }

        Console.Error.WriteLine($"all of them, {arguments.SilentTrials} times with the link silent");
        var unheard = await bench.UnheardAsync(arguments.SilentTrials, ct);
        foreach (var (i, withdrawal) in Withdrawal.All.Index())
            results.Add(new Result(withdrawal.Kind, Listener.Silent, [.. unheard.Select(figures => figures[i])]));
        return results;
    }
}

internal sealed record BoundsArguments(int Trials = 200, int SilentTrials = 20, string? Json = null)
{
    /// <summary>Null when they are not such.</summary>
    public static BoundsArguments? Parse(ReadOnlySpan<string> args) => args switch
    {
        [] => new BoundsArguments(),
        ["--trials", var number, .. var rest] when Parse(rest) is { } others && Count(number) is { } count =>
            others with { Trials = count },
        ["--silent-trials", var number, .. var rest] when Parse(rest) is { } others && Count(number) is { } count =>
            others with { SilentTrials = count },
        ["--json", var file, .. var rest] when Parse(rest) is { } others => others with { Json = file },
        _ => null,
    };

    private static int? Count(string number) =>
        int.TryParse(number, NumberStyles.None, CultureInfo.InvariantCulture, out var count) && count is > 0 and <= 10_000 ? count : null;
}

/// <param name="Kind">What is withdrawn.</param>
/// <param name="Sql">Withdraws it from @client, whose secret is @secret.</param>
/// <param name="Outcome">What the client is answered from then on.</param>
internal sealed record Withdrawal(string Kind, string Sql, string Outcome)
{
    /// <summary>What it is answered until then.</summary>
    public const string Granted = "expires_in=600";

    public static readonly Withdrawal[] All =
    [
        new("secret revoked", "select token_service.revoke_secret(@client, @secret)", "invalid_client"),
        new("client disabled", "select token_service.set_client_enabled(@client, false)", "invalid_client"),
        new("scope revoked", $"select token_service.revoke_scope(@client, '{Clients.Scope}')", "invalid_scope"),
        new("lifetime changed", "select token_service.update_client(@client, p_token_lifetime => '5 minutes')", "expires_in=300"),
    ];
}

internal sealed record Client(string Id, string SecretId);

/// <summary>One for each trial. All have the same secret, as no generated ones could, so that one digest does for all.</summary>
internal static class Clients
{
    public const string Secret = "one secret for all the clients of a measurement";

    public const string Scope = "bounds:read";

    private const string Make = """
        select token_service.create_client(
            'bounds-' || n, 'A client of a measurement', 'https://bounds.example.com', array[@scope])
        from generate_series(1, @count) as n;

        select token_service.add_secret('bounds-' || n, 'imported_' || to_char(n, 'FM000000000000'), @digest)
        from generate_series(1, @count) as n
        """;

    public static async Task<Queue<Client>> MakeAsync(NpgsqlDataSource database, int count, CancellationToken ct)
    {
        var output = await TokenServer.RunAsync(["secret", "hash"], Secret, "", ct);
        var digest = output.Split('\n').Single(line => line.StartsWith("digest=", StringComparison.Ordinal))["digest=".Length..];
        await using var command = database.CreateCommand(Make);
        command.Parameters.AddWithValue("scope", Scope);
        command.Parameters.AddWithValue("digest", digest);
        command.Parameters.AddWithValue("count", count);
        await command.ExecuteNonQueryAsync(ct);
        return new(Enumerable.Range(1, count).Select(n => new Client($"bounds-{n}", $"imported_{n:D12}")));
    }
}

/// <summary>The trials.</summary>
internal sealed class Trials(NpgsqlDataSource database, Queue<Client> clients, Replica[] replicas)
{
    // Far beyond the bounds: what takes so long is not waited for.
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(15);

    // Between an answer and the next request, for each client that is asked for at the same time.
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(5);

    // Over which a trial's commit is spread, so that it meets every moment of what goes on anyway: a request, or a second's heartbeat.
    private static readonly TimeSpan RequestSpread = TimeSpan.FromMilliseconds(20);
    private static readonly TimeSpan HeartbeatSpread = TimeSpan.FromSeconds(1);

    // So many answers in a row that obey, and it is believed.
    private const int Enough = 4;

    /// <summary>In milliseconds, a figure for each trial.</summary>
    public async Task<double[]> HeardAsync(Withdrawal withdrawal, int trials, CancellationToken ct)
    {
        var figures = new double[trials];
        for (var i = 0; i < trials; i++)
            figures[i] = (await TryAsync([withdrawal], () => Task.Delay(RequestSpread * i / trials, ct), ct))[0];
        return figures;
    }

    /// <summary>In milliseconds, for each trial a figure for each withdrawal: one loss of the link serves them all.</summary>
    public async Task<IReadOnlyList<double[]>> UnheardAsync(int trials, CancellationToken ct)
    {
        var figures = new List<double[]>();
        for (var i = 0; i < trials; i++)
        {
            figures.Add(await TryAsync(Withdrawal.All, () => SilenceAsync(HeartbeatSpread * i / trials, ct), ct));
            await Task.WhenAll(replicas.Select(replica => replica.RestoreAsync(ct)));
        }

        return figures;
    }

    private async Task SilenceAsync(TimeSpan phase, CancellationToken ct)
    {
        await Task.Delay(phase, ct);
        foreach (var replica in replicas)
            replica.Silence();
    }

    private async Task<double[]> TryAsync(Withdrawal[] withdrawals, Func<Task> prepare, CancellationToken ct)
    {
        var pause = Pause * withdrawals.Length;
        var trials = withdrawals.Select(withdrawal => (withdrawal, client: clients.Dequeue())).ToArray();
        // Both replicas know every client by now, and go on being asked.
        await Task.WhenAll(trials.SelectMany(trial => replicas.Select(replica => ExpectGrantAsync(replica, trial.client, ct))));
        var asked = trials
            .Select(trial => Task.WhenAll(replicas.Select(replica => AskAsync(replica, trial.client, trial.withdrawal, pause, ct))))
            .ToArray();

        await prepare();
        var committedAt = new long[trials.Length];
        for (var i = 0; i < trials.Length; i++)
            committedAt[i] = await CommitAsync(trials[i].withdrawal, trials[i].client, ct);

        var obeyedAt = await Task.WhenAll(asked);
        // A replica may hear of it before we do.
        return [.. trials.Select((_, i) => double.Max(0, Stopwatch.GetElapsedTime(committedAt[i], obeyedAt[i].Max()).TotalMilliseconds))];
    }

    private static async Task ExpectGrantAsync(Replica replica, Client client, CancellationToken ct)
    {
        if (await replica.AskAsync(client.Id, ct) is var outcome and not Withdrawal.Granted)
            throw new InvalidOperationException($"A client from which nothing is withdrawn was answered {outcome}.");
    }

    private async Task<long> CommitAsync(Withdrawal withdrawal, Client client, CancellationToken ct)
    {
        await using var command = database.CreateCommand(withdrawal.Sql);
        command.Parameters.AddWithValue("client", client.Id);
        command.Parameters.AddWithValue("secret", client.SecretId);
        await command.ExecuteNonQueryAsync(ct);
        return Stopwatch.GetTimestamp();
    }

    // When the first answer came that obeys and was followed only by such; or when patience ended.
    private static async Task<long> AskAsync(Replica replica, Client client, Withdrawal withdrawal, TimeSpan pause, CancellationToken ct)
    {
        var began = Stopwatch.GetTimestamp();
        var (obeyedAt, obeyed) = (0L, 0);
        while (obeyed < Enough)
        {
            var outcome = await replica.AskAsync(client.Id, ct);
            var now = Stopwatch.GetTimestamp();
            if (outcome == withdrawal.Outcome)
                (obeyedAt, obeyed) = (obeyed == 0 ? now : obeyedAt, obeyed + 1);
            else if (outcome != Withdrawal.Granted)
                throw new InvalidOperationException($"{withdrawal.Kind}: a client was answered {outcome}.");
            else if (Stopwatch.GetElapsedTime(began) > Patience)
                return now;
            else
                obeyed = 0;
            await Task.Delay(pause, ct);
        }

        return obeyedAt;
    }
}

/// <summary>TokenService as an operator runs it, and the link through which it reaches the database.</summary>
internal sealed partial class Replica : IAsyncDisposable
{
    // Longer than any of it takes.
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    private readonly Process process;
    private readonly Link link;
    private readonly TaskCompletionSource<Uri> address = new();
    private readonly SemaphoreSlim heardAgain = new(0);
    private readonly HttpClient http = new(new SocketsHttpHandler { UseProxy = false });

    private Replica(string postgres)
    {
        link = new Link(postgres);
        process = TokenServer.Start([], link.ConnectionString, TokenServer.CheapHashes);
        process.ErrorDataReceived += (_, line) => Read(line.Data);
        process.BeginErrorReadLine();
        process.BeginOutputReadLine();
    }

    /// <param name="postgres">How its owner connects to the database.</param>
    /// <param name="ct">Ends it.</param>
    public static async Task<Replica> StartAsync(string postgres, CancellationToken ct)
    {
        var replica = new Replica(postgres);
        try
        {
            replica.http.BaseAddress = await replica.address.Task.WaitAsync(Patience, ct);
            await replica.link.Listening.WaitAsync(Patience, ct);
            return replica;
        }
        catch
        {
            await replica.DisposeAsync();
            throw;
        }
    }

    /// <summary>Asks for a token: the lifetime of the one granted, or the error.</summary>
    public async Task<string> AskAsync(string clientId, CancellationToken ct)
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, "/token")
        {
            Content = new FormUrlEncodedContent(new Dictionary<string, string>
            {
                ["grant_type"] = "client_credentials",
                ["scope"] = Clients.Scope,
            }),
        };
        var credentials = $"{clientId}:{Clients.Secret.Replace(' ', '+')}";
        request.Headers.Authorization = new("Basic", Convert.ToBase64String(Encoding.ASCII.GetBytes(credentials)));
        using var response = await http.SendAsync(request, ct);
        var answer = JsonElement.Parse(await response.Content.ReadAsByteArrayAsync(ct));
        return response.IsSuccessStatusCode
            ? $"expires_in={answer.GetProperty("expires_in")}"
            : answer.GetProperty("error").GetString()!;
    }

    /// <summary>From here on it hears nothing.</summary>
    public void Silence() => link.Silence();

    /// <summary>Ends that, and waits until it hears again.</summary>
    public async Task RestoreAsync(CancellationToken ct)
    {
        link.Restore();
        if (!await heardAgain.WaitAsync(Patience, ct))
            throw new InvalidOperationException("A replica did not listen again when it could.");
    }

    public async ValueTask DisposeAsync()
    {
        process.Kill();
        await process.WaitForExitAsync();
        process.Dispose();
        await link.DisposeAsync();
        http.Dispose();
        heardAgain.Dispose();
    }

    // What it logs, or null at its end.
    private void Read(string? line)
    {
        if (line is null)
            address.TrySetException(new InvalidOperationException("A replica ended; what it says stands above."));
        else if (ListeningAt().Match(line) is { Success: true } match)
            address.TrySetResult(new Uri(match.Groups[1].Value));
        else if (line.Contains("Listening for changes again", StringComparison.Ordinal))
            heardAgain.Release();
    }

    [GeneratedRegex("Now listening on: (http://127.0.0.1:[0-9]+)")]
    private static partial Regex ListeningAt();
}

/// <summary>A way to PostgreSQL's socket, on which the connection that listens for notifications can be silenced.</summary>
internal sealed class Link : IAsyncDisposable
{
    private readonly NpgsqlConnectionStringBuilder postgres;
    private readonly TcpListener listener = new(IPAddress.Loopback, 0);
    private readonly CancellationTokenSource end = new();
    private readonly Task accepting;
    private readonly TaskCompletionSource listening = new(TaskCreationOptions.RunContinuationsAsynchronously);

    // Each connection that listens, as what resets it.
    private readonly Lock gate = new();
    private readonly HashSet<CancellationTokenSource> listeners = [];
    private bool isSilent;

    public Link(string postgres)
    {
        this.postgres = new NpgsqlConnectionStringBuilder(postgres);
        listener.Start();
        accepting = AcceptAsync();
    }

    /// <summary>Through the link, with the rights of the service.</summary>
    public string ConnectionString => new NpgsqlConnectionStringBuilder(postgres.ConnectionString)
    {
        Host = "127.0.0.1",
        Port = ((IPEndPoint)listener.LocalEndpoint).Port,
        Options = "-c role=token_service_app",
    }.ConnectionString;

    /// <summary>Completes when somebody listens.</summary>
    public Task Listening => listening.Task;

    /// <summary>Holds back every byte from and to whoever listens, or begins to. Nobody is told.</summary>
    public void Silence()
    {
        lock (gate)
        {
            if (listeners.Count == 0)
                throw new InvalidOperationException("Nobody listens who could be silenced.");
            isSilent = true;
        }
    }

    /// <summary>Lets new listeners through, and resets the old ones, as a network does with connections it has forgotten.</summary>
    public void Restore()
    {
        lock (gate)
        {
            isSilent = false;
            foreach (var reset in listeners)
                _ = reset.CancelAsync();
            listeners.Clear();
        }
    }

    public async ValueTask DisposeAsync()
    {
        await end.CancelAsync();
        await accepting;
        listener.Dispose();
        end.Dispose();
    }

    private async Task AcceptAsync()
    {
        var connections = new List<Task>();
        try
        {
            while (true)
                connections.Add(ServeAsync(await listener.AcceptSocketAsync(end.Token)));
        }
        catch (OperationCanceledException)
        {
            await Task.WhenAll(connections);
        }
    }

    private async Task ServeAsync(Socket accepted)
    {
        using var reset = CancellationTokenSource.CreateLinkedTokenSource(end.Token);
        await using var client = new NetworkStream(accepted, ownsSocket: true);
        using var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            await socket.ConnectAsync(new UnixDomainSocketEndPoint($"{postgres.Host}/.s.PGSQL.{postgres.Port}"), reset.Token);
            await using var server = new NetworkStream(socket);
            await Task.WhenAll(PumpAsync(client, server, reset), PumpAsync(server, client, reset));
        }
        catch (Exception e) when (e is SocketException or IOException or OperationCanceledException)
        {
            // One of the two has gone.
        }
        finally
        {
            lock (gate)
                listeners.Remove(reset);
        }
    }

    private async Task PumpAsync(NetworkStream from, NetworkStream to, CancellationTokenSource reset)
    {
        var buffer = new byte[16 * 1024];
        try
        {
            while (await from.ReadAsync(buffer, reset.Token) is var count and > 0)
            {
                if (IsHeld(buffer.AsSpan(0, count), reset))
                    await Task.Delay(Timeout.Infinite, reset.Token);
                await to.WriteAsync(buffer.AsMemory(0, count), reset.Token);
            }
        }
        finally
        {
            // With one direction ends the other.
            await reset.CancelAsync();
        }
    }

    private bool IsHeld(ReadOnlySpan<byte> bytes, CancellationTokenSource reset)
    {
        lock (gate)
        {
            if (bytes.IndexOf("listen token_service"u8) >= 0 && listeners.Add(reset))
                listening.TrySetResult();
            return isSilent && listeners.Contains(reset);
        }
    }
}

/// <param name="Kind">What was withdrawn.</param>
/// <param name="Listener">Whether the replicas heard of it.</param>
/// <param name="Figures">In milliseconds, one for each trial.</param>
internal sealed record Result(string Kind, Listener Listener, double[] Figures)
{
    public double P50 => Percentile(50);

    public double P99 => Percentile(99);

    public double P100 => Percentile(100);

    public bool IsHeld => P100 < Listener.BoundMilliseconds;

    // The least figure that so many per cent of all are not above.
    private double Percentile(int percent) => Figures.Order().ElementAt((Figures.Length * percent + 99) / 100 - 1);
}

/// <param name="State">In a word or two.</param>
/// <param name="BoundMilliseconds">What is promised.</param>
internal sealed record Listener(string State, double BoundMilliseconds)
{
    public static readonly Listener Up = new("up", 1000);

    public static readonly Listener Silent = new("silent", 5000);
}

internal static class Report
{
    private static readonly JsonSerializerOptions Indented = new(JsonSerializerDefaults.Web) { WriteIndented = true };

    public static void Print(IReadOnlyList<Result> results, TextWriter output)
    {
        output.WriteLine("kind              listener  trials   p50 ms   p99 ms  p100 ms");
        foreach (var result in results)
        {
            output.WriteLine($"{result.Kind,-17} {result.Listener.State,-8} {result.Figures.Length,7} "
                + $"{result.P50,8:F0} {result.P99,8:F0} {result.P100,8:F0}");
        }

        foreach (var bound in results.GroupBy(result => result.Listener))
        {
            output.WriteLine($"listener {bound.Key.State}: below {bound.Key.BoundMilliseconds / 1000} s, "
                + (bound.All(result => result.IsHeld) ? "held" : "NOT HELD"));
        }
    }

    public static string Json(IReadOnlyList<Result> results) => JsonSerializer.Serialize(
        results.Select(result => new
        {
            result.Kind,
            Listener = result.Listener.State,
            Trials = result.Figures.Length,
            P50Milliseconds = result.P50,
            P99Milliseconds = result.P99,
            P100Milliseconds = result.P100,
            result.Listener.BoundMilliseconds,
            result.IsHeld,
        }),
        Indented);
}
