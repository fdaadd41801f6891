using System.Diagnostics.Metrics;
using Microsoft.Extensions.DependencyInjection;
using TokenService.Audit;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Events;

/// <summary>
/// Events and requests while the output of events is slow, and the form of an event in the output.
/// </summary>
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
    public async Task A_request_waits_for_room_in_the_queue_under_Wait_and_no_event_is_lost()
    {
        var output = new SlowOutput();
        await using var server = await StartAsync(output, "Wait");
        await FillAsync(server, output);
        var events = server.Services.GetRequiredService<EventLog>();
        var extra = events.AddAsync(NewEvent("one-more"), CancellationToken.None).AsTask();
        var answering = TokenRequestBuilder.For(client).SendAsync(server);
        Assert.That(extra.IsCompleted, Is.False);
        Assert.That(answering.IsCompleted, Is.False);

        output.Release();
        Assert.That(await extra);
        var answer = await answering;
        answer.IsGrant("invoices:read");
        await output.IsWrittenAsync(answer.EventId);
        Assert.That(output.Ids, Is.EquivalentTo(["held", .. Queued, "one-more", answer.EventId]));
    }

    [Test]
    public async Task Requests_are_answered_under_Drop_and_the_number_of_lost_events_is_logged()
    {
        var output = new SlowOutput();
        await using var server = await StartAsync(output, "Drop");
        var dropped = 0L;
        using var listener = new MeterListener
        {
            InstrumentPublished = (instrument, listener) =>
            {
                if (instrument.Name == "token_service.events.dropped"
                    && instrument.Meter.Scope == server.Services.GetRequiredService<IMeterFactory>())
                    listener.EnableMeasurementEvents(instrument);
            },
        };
        listener.SetMeasurementEventCallback<long>((_, value, _, _) => Interlocked.Add(ref dropped, value));
        listener.Start();

        await FillAsync(server, output);
        for (var i = 0; i < 3; i++)
            (await TokenRequestBuilder.For(client).SendAsync(server)).IsGrant("invoices:read");
        Assert.That(dropped, Is.EqualTo(3));

        output.Release();
        await output.IsWrittenAsync($"queued-{QueueLength - 1}");
        await Soon.IsAsync("the warning is logged", () => server.Log.Lines.Any(line => line.StartsWith(
            "Warning TokenService.Audit.EventLog: 3 events of requests were dropped until "
                + $"{server.Clock.GetUtcNow():O}",
            StringComparison.Ordinal)));
        Assert.That(output.Ids, Is.EquivalentTo(["held", .. Queued]));

        var answer = await TokenRequestBuilder.For(client).SendAsync(server);
        await output.IsWrittenAsync(answer.EventId);
    }

    [Test]
    public async Task Queued_events_are_written_when_the_server_stops()
    {
        var output = new SlowOutput();
        await using var server = await StartAsync(output, "Wait");
        await FillAsync(server, output);
        var stopping = server.StopAsync();
        output.Release();
        await stopping;
        Assert.That(output.Ids, Is.EquivalentTo(["held", .. Queued]));
    }

    [Test]
    public async Task The_event_of_a_hostile_request_is_one_line_of_JSON()
    {
        await using var server = await TestServer.StartAsync(database, "Proxies=127.0.0.1");
        string[] hostile =
        [
            "\"}", "a\nb", "{\"outcome\":\"granted\"}", "\u2028", "\ud83d\ude00", "\0", new string('x', 4000),
            "</script>", "\u001b[31m",
        ];
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
                ids.Add((await request.SendAsync(server)).EventId);
        }

        await server.StopAsync();
        Assert.That(server.Events.Lines.Select(CapturedEvents.IdOf), Is.EqualTo(ids));
    }

    private static IEnumerable<string> Queued => Enumerable.Range(0, QueueLength).Select(i => $"queued-{i}");

    private Task<TestServer> StartAsync(SlowOutput output, string whenFull) => TestServer.StartAsync(
        database.ConnectionString, new FakeClock(), services => services.AddSingleton<EventOutput>(output),
        $"Events:QueueLength={QueueLength}", $"Events:WhenFull={whenFull}");

    // Afterwards one event is being written and the queue is full.
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

    /// <summary>An output that can be held up.</summary>
    private sealed class SlowOutput : EventOutput
    {
        private readonly CapturedEvents events = new();
        private readonly TaskCompletionSource held = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private volatile TaskCompletionSource? hold;

        public IEnumerable<string> Ids => events.Lines.Select(CapturedEvents.IdOf);

        /// <summary>Completes when a write waits.</summary>
        public Task IsHeld => held.Task;

        public void Hold() => hold = new TaskCompletionSource();

        public void Release()
        {
            var over = hold;
            hold = null;
            over?.SetResult();
        }

        public Task IsWrittenAsync(string requestId) =>
            Soon.IsAsync($"{requestId} is written", () => Ids.Contains(requestId));

        public override void Open()
        {
        }

        protected override int WriteSome(ReadOnlySpan<byte> bytes)
        {
            if (hold is { } now)
            {
                held.TrySetResult();
                now.Task.Wait();
            }

            return events.Write(bytes, out _);
        }
    }
}
