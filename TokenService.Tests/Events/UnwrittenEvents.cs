using System.Runtime.Versioning;
using System.Text;
using System.Text.Json;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;
using TokenService.Audit;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Events;

/// <summary>
/// A write of events that fails: under Wait nothing is granted until a write succeeds again, and nothing that was
/// granted is lost. The output is a named pipe whose reader ends and starts again, a full disk, or a file that may not
/// grow.
/// </summary>
[TestFixture, SupportedOSPlatform("linux")]
public sealed class UnwrittenEvents
{
    private const string CannotBeWritten = "Error TokenService.Audit.EventLog: Events of requests cannot be written: ";
    private const string WrittenAgain = "Information TokenService.Audit.EventLog: Events of requests are written again";

    // Much longer than any wait takes: a pipe that stays empty fails its test instead of hanging the run.
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(30);

    private readonly HashingGate hashing = new();
    private Database database = null!;
    private TestClient client = null!;
    private TestClient api = null!;
    private string directory = null!;

    [OneTimeSetUp]
    public async Task CreateDatabase()
    {
        database = await Database.CreateAsync();
        client = await database.CreateClientAsync("billing");
        api = await database.CreateApiAsync("api", "https://api.example.com");
    }

    [OneTimeTearDown]
    public async Task DropDatabase()
    {
        hashing.Dispose();
        await (database?.DisposeAsync() ?? ValueTask.CompletedTask);
    }

    [SetUp]
    public void CreateDirectory() => directory = Directory.CreateTempSubdirectory("events").FullName;

    [TearDown]
    public void DeleteDirectory() => Directory.Delete(directory, recursive: true);

    [Test]
    public async Task Nothing_is_granted_until_a_write_succeeds_again_and_no_event_is_lost()
    {
        using var pipe = await Pipe.CreateAsync(directory);
        await using var server = await StartAsync(pipe.Path);
        var first = await GrantAsync(server);
        Assert.That(await pipe.ReadIdAsync(), Is.EqualTo(first.EventId));

        pipe.Close();
        var answers = new List<Answer> { await GrantAsync(server) };
        await Soon.IsAsync("a write has failed", async () =>
        {
            answers.Add(await TokenRequestBuilder.For(client).SendAsync(server));
            return answers[^1].Status == 503;
        });
        var token = first.Token.EncodedToken;
        answers.Add(await TokenRequestBuilder.Introspect(api, token).SendAsync(server));
        answers.Add(await TokenRequestBuilder.Revoke(client, token).SendAsync(server));
        foreach (var answer in answers[^3..])
            IsRefused(answer);

        pipe.Open();
        await IsWrittenAgainAsync(server);
        answers.Add(await GrantAsync(server));
        foreach (var answer in answers)
            Assert.That(await pipe.ReadIdAsync(), Is.EqualTo(answer.EventId));
        Assert.That(server.Log.Lines, Has.Exactly(1).StartsWith(CannotBeWritten).And.Exactly(1).StartsWith(WrittenAgain));
    }

    [Test]
    public async Task A_request_is_refused_before_its_secret_is_hashed()
    {
        using var pipe = await Pipe.CreateAsync(directory);
        await using var server = await StartAsync(pipe.Path);
        pipe.Close();
        await FailAsync(server);
        var hashed = hashing.Count;
        var answer = await TokenRequestBuilder.For(client).SendAsync(server);
        IsRefused(answer);
        Assert.That(hashing.Count, Is.EqualTo(hashed));

        pipe.Open();
        await IsWrittenAgainAsync(server);
        var line = JsonElement.Parse((await pipe.ReadUntilAsync(answer.EventId))[^1]);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(line.GetProperty("reason").GetString(), Is.EqualTo("events_not_written"));
            Assert.That(line.GetProperty("client_id").GetString(), Is.EqualTo("billing"));
            Assert.That(line.TryGetProperty("secret_id", out _), Is.False);
        }
    }

    [Test]
    public async Task A_request_that_is_being_answered_when_a_write_fails_gets_no_token()
    {
        using var pipe = await Pipe.CreateAsync(directory);
        await using var server = await StartAsync(pipe.Path);
        var hashed = hashing.Count;
        hashing.Close();
        try
        {
            var answering = TokenRequestBuilder.For(await database.CreateClientAsync("unverified")).SendAsync(server);
            await hashing.HoldsAsync(hashed + 1);
            pipe.Close();
            await FailAsync(server);
            hashing.Open();
            IsRefused(await answering);
        }
        finally
        {
            hashing.Open();
        }

        pipe.Open();
        await IsWrittenAgainAsync(server);
        await GrantAsync(server);
    }

    // The queue, a batch and the pipe together hold fewer than these events, so some of them wait for room.
    [Test]
    public async Task Requests_that_wait_for_room_in_the_queue_are_refused_and_a_line_that_was_cut_off_is_written_again()
    {
        using var pipe = await Pipe.CreateAsync(directory);
        await using var server = await StartAsync(pipe.Path, "Events:QueueLength=1024");
        var events = server.Services.GetRequiredService<EventLog>();
        var ids = Enumerable.Range(0, 2000).Select(i => $"{i}".PadRight(1000, '.')).ToList();
        var adding = ids.Select(id => events.AddAsync(NewEvent(id), CancellationToken.None).AsTask()).ToList();
        var answering = TokenRequestBuilder.For(client).SendAsync(server);
        pipe.Close();
        var isQueued = await Task.WhenAll(adding).WaitAsync(Limit);
        Assert.That(isQueued, Has.Some.False.And.Some.True);
        IsRefused(await answering);

        var queued = ids.Zip(isQueued).Where(pair => pair.Second).Select(pair => pair.First).ToList();
        pipe.Open();
        var reading = pipe.ReadUntilAsync(queued[^1]);
        await IsWrittenAgainAsync(server);
        var lines = await reading;
        var whole = lines.Where(line => line.EndsWith('}')).Select(CapturedEvents.IdOf);
        Assert.That(whole.Where(ids.Contains), Is.EqualTo(queued));
        Assert.That(lines.Count(line => !line.EndsWith('}')), Is.LessThanOrEqualTo(1));
    }

    [Test]
    public async Task A_line_that_was_cut_off_is_ended_before_it_is_written_again()
    {
        var (file, log) = (Path.Combine(directory, "events.log"), Path.Combine(directory, "log"));
        // The limit below is for the log too, which is shorter than this.
        await File.WriteAllTextAsync(file, new string('.', 1024 * 1024) + '\n');
        // Without the trap, a write beyond the limit would end the process.
        await using var server = await ServerProcess.StartAsync(
            database, "trap '' XFSZ; exec \"$@\" 2> \"$log\"", log, $"Events:File={file}");
        var first = await GrantAsync(server.Client);
        await IsWrittenAsync(first, file);

        await server.LimitAsync($"--fsize={new FileInfo(file).Length + 10}");
        var second = await GrantAsync(server.Client);
        await Soon.IsAsync("a write has failed", () => File.ReadAllText(log).Contains(
            "Events of requests cannot be written: File too large.", StringComparison.Ordinal));
        var refused = await TokenRequestBuilder.For(client).SendAsync(server.Client);
        IsRefused(refused);

        await server.LimitAsync("--fsize=unlimited");
        await IsWrittenAsync(refused, file);
        var last = await GrantAsync(server.Client);
        await server.StopAsync();
        var lines = (await File.ReadAllLinesAsync(file))[1..];
        Assert.That(lines[1], Is.EqualTo(lines[2][..10]));
        Assert.That(
            lines.Where((_, i) => i != 1).Select(CapturedEvents.IdOf),
            Is.EqualTo([first.EventId, second.EventId, refused.EventId, last.EventId]));
    }

    [Test]
    public async Task A_stop_logs_the_number_of_events_that_still_cannot_be_written()
    {
        await using var server = await StartAsync("/dev/full", "shutdownTimeoutSeconds=3600");
        await GrantAsync(server);
        await Soon.IsAsync("a write has failed", () => server.Log.Lines.Any(line => line.StartsWith(
            CannotBeWritten + "No space left on device.", StringComparison.Ordinal)));
        for (var i = 0; i < 2; i++)
            IsRefused(await TokenRequestBuilder.For(client).SendAsync(server));

        await server.StopAsync().WaitAsync(Limit);
        Assert.That(server.Log.Lines, Has.Exactly(1).StartsWith(
            "Error TokenService.Audit.EventLog: 3 events of requests are lost, because they could not be written before the "
            + "server stopped."));
    }

    [Test]
    public async Task A_stop_while_a_write_blocks_ends_in_time_and_logs_the_number_of_lost_events()
    {
        using var pipe = await Pipe.CreateAsync(directory);
        await using var server = await StartAsync(pipe.Path, "shutdownTimeoutSeconds=1");
        var events = server.Services.GetRequiredService<EventLog>();
        for (var i = 0; i < 1000; i++)
            Assert.That(events.TryAdd(NewEvent($"{i}".PadRight(1000, '.'))));

        await server.StopAsync();
        Assert.That(server.Log.Lines, Has.Exactly(1).Matches(
            "^Error TokenService.Audit.EventLog: [1-9][0-9]+ events of requests are lost, because they could not be written "));
    }

    [Test]
    public async Task Under_Drop_requests_are_granted_and_the_lost_events_are_logged()
    {
        using var pipe = await Pipe.CreateAsync(directory);
        await using var server = await StartAsync(pipe.Path, "Events:WhenFull=Drop");
        pipe.Close();
        await Soon.IsAsync("the error is logged", async () =>
        {
            await GrantAsync(server);
            return server.Log.Lines.Any(line => line.StartsWith(
                "Error TokenService.Audit.EventLog: 1 events of requests could not be written, and are lost", StringComparison.Ordinal));
        });
        await GrantAsync(server);

        pipe.Open();
        var last = await GrantAsync(server);
        await pipe.ReadUntilAsync(last.EventId);
    }

    private Task<TestServer> StartAsync(string file, params string[] settings) => TestServer.StartAsync(
        database.ConnectionString, new FakeClock(),
        services => services
            .AddSingleton(_ => hashing.NewThreads())
            .AddSingleton(provider => EventOutput.Of(
                provider.GetRequiredService<IOptions<EventLogOptions>>(), provider.GetRequiredService<ILogger<EventOutput>>())),
        [$"Events:File={file}", .. settings]);

    private Task<Answer> GrantAsync(TestServer server) => GrantAsync(server.Client);

    private async Task<Answer> GrantAsync(HttpClient server)
    {
        var answer = await TokenRequestBuilder.For(client).SendAsync(server);
        answer.IsGrant("invoices:read");
        return answer;
    }

    private static void IsRefused(Answer answer) => answer.IsError(
        503, "temporarily_unavailable",
            "The server cannot answer now. Retry-After says when to ask again.", ("Retry-After", "5"));

    // Queues events until one of them cannot be written.
    private static Task FailAsync(TestServer server) => Soon.IsAsync("a write has failed", () =>
    {
        var events = server.Services.GetRequiredService<EventLog>();
        Assert.That(events.TryAdd(NewEvent("unwritten")));
        return events.IsFailing;
    });

    private static Task IsWrittenAsync(Answer answer, string file) => Soon.IsAsync(
        $"{answer.EventId} is written", () => File.ReadAllText(file).Contains(answer.EventId, StringComparison.Ordinal));

    // Moves the clock until the server has tried again.
    private static Task IsWrittenAgainAsync(TestServer server) => Soon.IsAsync("a write has succeeded", () =>
    {
        server.Clock.Advance(TimeSpan.FromSeconds(1));
        return server.Log.Lines.Any(line => line.StartsWith(WrittenAgain, StringComparison.Ordinal));
    });

    private static RequestEvent NewEvent(string requestId) =>
        new() { Time = DateTimeOffset.UnixEpoch, RequestId = requestId, Endpoint = "/token", Source = null };


    /// <summary>A named pipe that the server writes to, and its reader.</summary>
    private sealed class Pipe : IDisposable
    {
        private StreamReader? reader;

        private Pipe(string path) => Path = path;

        public string Path { get; }

        public static async Task<Pipe> CreateAsync(string directory)
        {
            var pipe = new Pipe(System.IO.Path.Combine(directory, "pipe"));
            var tool = await Tool.RunAsync("mkfifo", [pipe.Path]);
            Assert.That(tool.ExitCode, Is.Zero, tool.Error);
            pipe.Open();
            return pipe;
        }

        /// <summary>Starts a reader. It is opened for writing too, so as not to wait for a writer.</summary>
        public void Open() => reader = new StreamReader(
            new FileStream(Path, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite, bufferSize: 0), Encoding.UTF8);

        /// <summary>Ends the reader, so that the server's next write fails.</summary>
        public void Close()
        {
            reader?.Dispose();
            reader = null;
        }

        public async Task<string> ReadIdAsync() =>
            CapturedEvents.IdOf(await Task.Run(() => reader!.ReadLine()!).WaitAsync(Limit));

        /// <summary>All lines up to that of a request.</summary>
        public Task<List<string>> ReadUntilAsync(string id) => Task.Run(() =>
        {
            var lines = new List<string>();
            do
                lines.Add(reader!.ReadLine()!);
            while (!lines[^1].Contains(id, StringComparison.Ordinal));
            return lines;
        }).WaitAsync(Limit);

        public void Dispose() => Close();
    }
}
