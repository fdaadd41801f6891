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
/// Measures how soon a withdrawal is obeyed, with two real replicas on a PostgreSQL of its own. Each replica reaches
/// PostgreSQL through a link. The link can silence the connection that listens for notifications: both ends keep it
/// open, but no bytes arrive, while all other connections work. In a trial a client requests tokens from both replicas
/// without pause, and its withdrawal is committed meanwhile. The figure is the time from the commit to the first answer
/// of the slower replica that obeys and is followed by no grant. That replica received its last granted request
/// earlier, so the figure errs on the long side.
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
            results.Add(new Result(
                withdrawal.Kind, Listener.Up, await bench.MeasureNotifiedAsync(withdrawal, arguments.Trials, ct)));
        }

        Console.Error.WriteLine($"all kinds of withdrawal, {arguments.SilentTrials} times with a silent link");
        var silenced = await bench.MeasureSilencedAsync(arguments.SilentTrials, ct);
        foreach (var (i, withdrawal) in Withdrawal.All.Index())
            results.Add(new Result(withdrawal.Kind, Listener.Silent, [.. silenced.Select(figures => figures[i])]));
        return results;
    }
}

internal sealed record BoundsArguments(int Trials = 200, int SilentTrials = 20, string? Json = null)
{
    /// <returns>Null when the arguments are wrong.</returns>
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

/// <param name="Kind">The name of this withdrawal in the report.</param>
/// <param name="Sql">Makes the withdrawal for @client, whose secret is @secret.</param>
/// <param name="Outcome">The answer that obeys the withdrawal.</param>
internal sealed record Withdrawal(string Kind, string Sql, string Outcome)
{
    /// <summary>The answer before the withdrawal.</summary>
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

/// <summary>
/// There is one client for each trial. All have the same imported secret, so that one digest is hashed once for all of
/// them.
/// </summary>
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

internal sealed class Trials(NpgsqlDataSource database, Queue<Client> clients, Replica[] replicas)
{
    // Far longer than the bounds: a replica that takes longer has failed.
    private static readonly TimeSpan MaxWait = TimeSpan.FromSeconds(15);

    // The pause between an answer and the next request, for each client of the trial.
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(5);

    // The trials spread their commit or silence over this time, so that it meets every phase of a request or of the
    // heartbeat.
    private static readonly TimeSpan RequestSpread = TimeSpan.FromMilliseconds(20);
    private static readonly TimeSpan HeartbeatSpread = TimeSpan.FromSeconds(1);

    // A replica is believed to obey after so many obeying answers in a row.
    private const int ConfirmingAnswers = 4;

    /// <returns>In milliseconds, a figure for each trial.</returns>
    public async Task<double[]> MeasureNotifiedAsync(Withdrawal withdrawal, int trials, CancellationToken ct)
    {
        var figures = new double[trials];
        for (var i = 0; i < trials; i++)
        {
            var phase = RequestSpread * i / trials;
            figures[i] = (await MeasureTrialAsync([withdrawal], () => Task.Delay(phase, ct), ct))[0];
        }

        return figures;
    }

    /// <summary>All withdrawals of a trial share one silence of the link.</summary>
    /// <returns>In milliseconds, for each trial a figure for each withdrawal.</returns>
    public async Task<IReadOnlyList<double[]>> MeasureSilencedAsync(int trials, CancellationToken ct)
    {
        var figures = new List<double[]>();
        for (var i = 0; i < trials; i++)
        {
            figures.Add(
                await MeasureTrialAsync(Withdrawal.All, () => SilenceAsync(HeartbeatSpread * i / trials, ct), ct));
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

    private async Task<double[]> MeasureTrialAsync(Withdrawal[] withdrawals, Func<Task> prepare, CancellationToken ct)
    {
        var pause = Pause * withdrawals.Length;
        var trials = withdrawals.Select(withdrawal => (withdrawal, client: clients.Dequeue())).ToArray();
        // First both replicas must have every client in their cache. The clients then go on requesting tokens.
        await Task.WhenAll(trials.SelectMany(trial => replicas.Select(replica => ExpectGrantAsync(replica, trial.client, ct))));
        var asked = trials
            .Select(trial => Task.WhenAll(replicas.Select(replica => AskAsync(replica, trial.client, trial.withdrawal, pause, ct))))
            .ToArray();

        await prepare();
        var committedAt = new long[trials.Length];
        for (var i = 0; i < trials.Length; i++)
            committedAt[i] = await CommitAsync(trials[i].withdrawal, trials[i].client, ct);

        var obeyedAt = await Task.WhenAll(asked);
        // A replica may learn of the commit before this program does, hence no negative figures.
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

    // Returns the time of the first obeying answer that only obeying answers followed, or of the end of the wait.
    private static async Task<long> AskAsync(Replica replica, Client client, Withdrawal withdrawal, TimeSpan pause, CancellationToken ct)
    {
        var began = Stopwatch.GetTimestamp();
        var (obeyedAt, obeyed) = (0L, 0);
        while (obeyed < ConfirmingAnswers)
        {
            var outcome = await replica.AskAsync(client.Id, ct);
            var now = Stopwatch.GetTimestamp();
            if (outcome == withdrawal.Outcome)
                (obeyedAt, obeyed) = (obeyed == 0 ? now : obeyedAt, obeyed + 1);
            else if (outcome != Withdrawal.Granted)
                throw new InvalidOperationException($"{withdrawal.Kind}: a client was answered {outcome}.");
            else if (Stopwatch.GetElapsedTime(began) > MaxWait)
                return now;
            else
                obeyed = 0;
            await Task.Delay(pause, ct);
        }

        return obeyedAt;
    }
}

/// <summary>
/// A TokenService process as an operator runs it, with the link through which it reaches the database.
/// </summary>
internal sealed partial class Replica : IAsyncDisposable
{
    // Longer than a start, or than a replica needs to listen again.
    private static readonly TimeSpan MaxWait = TimeSpan.FromSeconds(30);

    private readonly Process process;
    private readonly Link link;
    private readonly TaskCompletionSource<Uri> address = new();
    private readonly SemaphoreSlim listensAgain = new(0);
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
            replica.http.BaseAddress = await replica.address.Task.WaitAsync(MaxWait, ct);
            await replica.link.Listening.WaitAsync(MaxWait, ct);
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

    /// <summary>From now on this replica receives no notifications.</summary>
    public void Silence() => link.Silence();

    /// <summary>Ends the silence, and waits until the replica listens again.</summary>
    public async Task RestoreAsync(CancellationToken ct)
    {
        link.Restore();
        if (!await listensAgain.WaitAsync(MaxWait, ct))
            throw new InvalidOperationException(
                "A replica did not listen for notifications again after the link was restored.");
    }

    public async ValueTask DisposeAsync()
    {
        process.Kill();
        await process.WaitForExitAsync();
        process.Dispose();
        await link.DisposeAsync();
        http.Dispose();
        listensAgain.Dispose();
    }

    // The line is one of the replica's log, or null at the end of the process.
    private void Read(string? line)
    {
        if (line is null)
            address.TrySetException(new InvalidOperationException("A replica ended; its output above says why."));
        else if (ListeningAt().Match(line) is { Success: true } match)
            address.TrySetResult(new Uri(match.Groups[1].Value));
        else if (line.Contains("Listening for changes again", StringComparison.Ordinal))
            listensAgain.Release();
    }

    [GeneratedRegex("Now listening on: (http://127.0.0.1:[0-9]+)")]
    private static partial Regex ListeningAt();
}

/// <summary>A proxy to PostgreSQL's socket that can silence the connection that listens for notifications.</summary>
internal sealed class Link : IAsyncDisposable
{
    private readonly NpgsqlConnectionStringBuilder postgres;
    private readonly TcpListener listener = new(IPAddress.Loopback, 0);
    private readonly CancellationTokenSource end = new();
    private readonly Task accepting;
    private readonly TaskCompletionSource listening = new(TaskCreationOptions.RunContinuationsAsynchronously);

    // For each listening connection, the source whose cancellation resets it.
    private readonly Lock gate = new();
    private readonly HashSet<CancellationTokenSource> listeners = [];
    private bool isSilent;

    public Link(string postgres)
    {
        this.postgres = new NpgsqlConnectionStringBuilder(postgres);
        listener.Start();
        accepting = AcceptAsync();
    }

    /// <summary>Connects through the link, with the rights of the service.</summary>
    public string ConnectionString => new NpgsqlConnectionStringBuilder(postgres.ConnectionString)
    {
        Host = "127.0.0.1",
        Port = ((IPEndPoint)listener.LocalEndpoint).Port,
        Options = "-c role=token_service_app",
    }.ConnectionString;

    /// <summary>Completes when the replica listens for notifications.</summary>
    public Task Listening => listening.Task;

    /// <summary>Holds back every byte of connections that listen or begin to listen. Neither end is told.</summary>
    public void Silence()
    {
        lock (gate)
        {
            if (listeners.Count == 0)
                throw new InvalidOperationException("There is no listening connection to silence.");
            isSilent = true;
        }
    }

    /// <summary>
    /// Lets new listening connections through and resets the old ones, as a network does that has lost track of a
    /// connection.
    /// </summary>
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
            // One end has closed its connection.
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
            // When one direction ends, the other must end too.
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

/// <param name="Kind">The kind of withdrawal.</param>
/// <param name="Listener">Whether the replicas received notifications.</param>
/// <param name="Figures">In milliseconds, one for each trial.</param>
internal sealed record Result(string Kind, Listener Listener, double[] Figures)
{
    public double P50 => Percentile(50);

    public double P99 => Percentile(99);

    public double P100 => Percentile(100);

    public bool IsHeld => P100 < Listener.BoundMilliseconds;

    // The smallest figure that is not exceeded by this percentage of all figures.
    private double Percentile(int percent) => Figures.Order().ElementAt((Figures.Length * percent + 99) / 100 - 1);
}

/// <param name="State">Its name in the report.</param>
/// <param name="BoundMilliseconds">The stated bound.</param>
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
