using System.Diagnostics.Metrics;
using System.Text.Json;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Options;
using TokenService.Audit;
using TokenService.Configuration;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Events;

/// <summary>Where events go, and what becomes of them and of the requests when that place is slow, full or gone.</summary>
[TestFixture]
public sealed class EventOutputs
{
    private const int QueueLength = 1024;

    private Database database = null!;
    private TestClient client = null!;

    [OneTimeSetUp]
    public async Task CreateDatabase()
    {
        database = await Database.CreateAsync();
        client = await database.CreateClientAsync("billing");
    }

    [OneTimeTearDown]
    public async Task DropDatabase() => await (database?.DisposeAsync() ?? ValueTask.CompletedTask);

    [Test]
    public async Task With_Wait_a_request_waits_until_there_is_room_and_no_event_is_lost()
    {
        var output = new SlowOutput();
        await using var server = await StartAsync(output, "Wait");
        await FillAsync(server, output);
        var oneMore = server.Services.GetRequiredService<EventLog>().AddAsync(NewEvent("one-more"), CancellationToken.None).AsTask();
        var answering = TokenRequestBuilder.For(client).SendAsync(server);
        Assert.That(oneMore.IsCompleted, Is.False);
        Assert.That(answering.IsCompleted, Is.False);

        output.GoOn();
        await oneMore;
        var answer = await answering;
        answer.IsGrant("invoices:read");
        await output.HasAsync(answer.RequestId);
        Assert.That(output.RequestIds, Is.EquivalentTo(["held", .. Queued, "one-more", answer.RequestId]));
    }

    [Test]
    public async Task With_Drop_requests_are_answered_and_how_many_events_were_lost_is_told()
    {
        var output = new SlowOutput();
        await using var server = await StartAsync(output, "Drop");
        var dropped = 0L;
        using var listener = new MeterListener
        {
            InstrumentPublished = (instrument, listener) =>
            {
                if (instrument.Name == "token_service.events.dropped" && instrument.Meter.Scope == server.Services.GetRequiredService<IMeterFactory>())
                    listener.EnableMeasurementEvents(instrument);
            },
        };
        listener.SetMeasurementEventCallback<long>((_, value, _, _) => Interlocked.Add(ref dropped, value));
        listener.Start();

        await FillAsync(server, output);
        for (var i = 0; i < 3; i++)
            (await TokenRequestBuilder.For(client).SendAsync(server)).IsGrant("invoices:read");
        Assert.That(dropped, Is.EqualTo(3));

        output.GoOn();
        await output.HasAsync($"queued-{QueueLength - 1}");
        await Soon.IsAsync("the operator is told", () => server.Log.Lines.Any(line => line.StartsWith(
            $"Warning TokenService.Audit.EventLog: 3 events of requests were dropped until {server.Clock.GetUtcNow():O}", StringComparison.Ordinal)));
        Assert.That(output.RequestIds, Is.EquivalentTo(["held", .. Queued]));

        var answer = await TokenRequestBuilder.For(client).SendAsync(server);
        await output.HasAsync(answer.RequestId);
    }

    [Test]
    public async Task What_is_queued_when_the_server_stops_is_written()
    {
        var output = new SlowOutput();
        await using var server = await StartAsync(output, "Wait");
        await FillAsync(server, output);
        var stopping = server.StopAsync();
        output.GoOn();
        await stopping;
        Assert.That(output.RequestIds, Is.EquivalentTo(["held", .. Queued]));
    }

    [Test]
    public async Task An_output_that_fails_is_an_error_in_the_log_and_requests_go_on()
    {
        var output = new SlowOutput { Failure = new IOException("No space left on device.") };
        await using var server = await StartAsync(output, "Wait");
        (await TokenRequestBuilder.For(client).SendAsync(server)).IsGrant("invoices:read");
        await Soon.IsAsync("the operator is told", () => server.Log.Lines.Any(line => line.StartsWith(
            "Error TokenService.Audit.EventLog: 1 events of requests could not be written, and are lost", StringComparison.Ordinal)));

        output.Failure = null;
        var answer = await TokenRequestBuilder.For(client).SendAsync(server);
        answer.IsGrant("invoices:read");
        await output.HasAsync(answer.RequestId);
    }

    [Test]
    public async Task A_file_is_appended_to()
    {
        var file = Path.GetTempFileName();
        await File.WriteAllTextAsync(file, "what was there before\n");
        string first, second;
        await using (var server = await StartAsync(file))
        {
            first = (await TokenRequestBuilder.For(client).SendAsync(server)).RequestId;
            await server.StopAsync();
        }

        await using (var server = await StartAsync(file))
        {
            second = (await TokenRequestBuilder.For(client).WithScope("unheld").SendAsync(server)).RequestId;
            await server.StopAsync();
        }

        var lines = await File.ReadAllLinesAsync(file);
        Assert.That(lines[0], Is.EqualTo("what was there before"));
        Assert.That(lines[1..].Select(RequestId), Is.EqualTo([first, second]));
        File.Delete(file);
    }

    [TestCase("/nowhere/events.log")]
    [TestCase("/")]
    public async Task A_file_that_cannot_be_appended_to_keeps_the_server_from_starting(string file) => await Assert.ThatAsync(
        async () => await StartAsync(file),
        Throws.InstanceOf<OperatorException>().With.Message.StartsWith("Events:File cannot be appended to: "));

    // As logrotate's copytruncate does.
    [Test]
    public async Task A_file_that_is_emptied_is_begun_anew()
    {
        var file = Path.GetTempFileName();
        string second;
        await using (var server = await StartAsync(file))
        {
            var first = (await TokenRequestBuilder.For(client).SendAsync(server)).RequestId;
            await Soon.IsAsync("the first is written", () => File.ReadAllText(file).Contains(first, StringComparison.Ordinal));
            await File.WriteAllTextAsync(file, "");
            second = (await TokenRequestBuilder.For(client).SendAsync(server)).RequestId;
            await server.StopAsync();
        }

        Assert.That((await File.ReadAllLinesAsync(file)).Select(RequestId), Is.EqualTo([second]));
        File.Delete(file);
    }

    // As logrotate does without it.
    [Test]
    public async Task A_file_that_is_moved_away_is_begun_anew()
    {
        var (file, moved) = (Path.GetTempFileName(), Path.GetTempFileName());
        string first, second;
        await using (var server = await StartAsync(file))
        {
            first = (await TokenRequestBuilder.For(client).SendAsync(server)).RequestId;
            await Soon.IsAsync("the first is written", () => File.ReadAllText(file).Contains(first, StringComparison.Ordinal));
            File.Move(file, moved, overwrite: true);
            second = (await TokenRequestBuilder.For(client).SendAsync(server)).RequestId;
            await server.StopAsync();
        }

        Assert.That((await File.ReadAllLinesAsync(moved)).Select(RequestId), Is.EqualTo([first]));
        Assert.That((await File.ReadAllLinesAsync(file)).Select(RequestId), Is.EqualTo([second]));
        File.Delete(file);
        File.Delete(moved);
    }

    [Test]
    public async Task Whatever_a_request_says_its_event_is_one_line_of_JSON()
    {
        await using var server = await TestServer.StartAsync(database);
        string[] hostile = ["\"}", "a\nb", "{\"outcome\":\"granted\"}", "\u2028", "\ud83d\ude00", "\0", new string('x', 4000), "</script>", "\u001b[31m"];
        var ids = new List<string>();
        foreach (var value in hostile)
        {
            TokenRequestBuilder[] requests =
            [
                TokenRequestBuilder.For(client with { Id = value }), TokenRequestBuilder.ByPost(client with { Id = value }),
                TokenRequestBuilder.For(client with { Secret = value }), TokenRequestBuilder.For(client).WithScope(value),
                TokenRequestBuilder.Anonymous().With("grant_type", value), TokenRequestBuilder.For(client).With("resource", value),
                TokenRequestBuilder.For(client).WithHeader("X-Forwarded-For", Uri.EscapeDataString(value)),
                TokenRequestBuilder.For(client).WithHeader("X-Forwarded-For", "fe80::1%25" + Uri.EscapeDataString(value)),
                TokenRequestBuilder.For(client).WithHeader("Request-Id", Uri.EscapeDataString(value)),
            ];
            foreach (var request in requests)
                ids.Add((await request.SendAsync(server)).RequestId);
        }

        await server.StopAsync();
        Assert.That(server.Events.Lines.Select(RequestId), Is.EqualTo(ids));
    }

    private static IEnumerable<string> Queued => Enumerable.Range(0, QueueLength).Select(i => $"queued-{i}");

    private Task<TestServer> StartAsync(SlowOutput output, string whenFull) => TestServer.StartAsync(
        database.ConnectionString, new FakeClock(), services => services.AddSingleton<EventOutput>(output),
        $"Events:QueueLength={QueueLength}", $"Events:WhenFull={whenFull}");

    private Task<TestServer> StartAsync(string file) => TestServer.StartAsync(
        database.ConnectionString, new FakeClock(),
        services => services.AddSingleton(provider => EventOutput.Of(provider.GetRequiredService<IOptions<EventLogOptions>>())),
        $"Events:File={file}");

    // One event is being written, and as many wait as may.
    private static async Task FillAsync(TestServer server, SlowOutput output)
    {
        output.Hold();
        var events = server.Services.GetRequiredService<EventLog>();
        Assert.That(events.TryAdd(NewEvent("held")));
        await output.IsHeld;
        foreach (var id in Queued)
            Assert.That(events.TryAdd(NewEvent(id)));
    }

    private static RequestEvent NewEvent(string requestId) =>
        new() { Time = DateTimeOffset.UnixEpoch, RequestId = requestId, Endpoint = "/token", Source = null };

    private static string RequestId(string line) => JsonElement.Parse(line).GetProperty("request_id").GetString()!;

    /// <summary>An output that can be held up.</summary>
    private sealed class SlowOutput : EventOutput
    {
        private readonly CapturedEvents events = new();
        private readonly TaskCompletionSource held = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private volatile TaskCompletionSource? hold;

        public volatile Exception? Failure;

        public IEnumerable<string> RequestIds => events.Lines.Select(RequestId);

        /// <summary>Completes when a write waits.</summary>
        public Task IsHeld => held.Task;

        public void Hold() => hold = new TaskCompletionSource();

        public void GoOn()
        {
            var over = hold;
            hold = null;
            over?.SetResult();
        }

        public Task HasAsync(string requestId) =>
            Soon.IsAsync($"{requestId} is written", () => RequestIds.Contains(requestId));

        public override void Check()
        {
        }

        public override void Write(ReadOnlySpan<byte> lines)
        {
            if (Failure is not null)
                throw Failure;
            if (hold is { } now)
            {
                held.TrySetResult();
                now.Task.Wait();
            }

            events.Write(lines);
        }
    }
}
