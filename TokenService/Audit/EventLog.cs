using System.Buffers;
using System.Text.Json;
using System.Threading.Channels;
using Microsoft.Extensions.Options;
using TokenService.Telemetry;

namespace TokenService.Audit;

/// <summary>
/// Writes one JSON line for each request, in batches, on a thread of its own. Requests put their events into a bounded
/// queue. When the queue is full, the request waits or its event is dropped, as configured. Events that are dropped or
/// cannot be written are counted and logged, so none is lost silently. When the server stops, queued events are still
/// written.
/// </summary>
internal sealed partial class EventLog(
    EventOutput output, IOptions<EventLogOptions> options, Metrics metrics, TimeProvider clock, ILogger<EventLog> logger)
    : IHostedService
{
    // Lines in one write, about 128 KiB.
    private const int MaxLines = 256;

    // How late a line may be written. A person who reads the log does not notice it, and it makes large batches.
    private static readonly TimeSpan BatchTime = TimeSpan.FromMilliseconds(25);

    private readonly Channel<RequestEvent> queue = Channel.CreateBounded<RequestEvent>(
        new BoundedChannelOptions(options.Value.QueueLength) { SingleReader = true });

    private readonly bool mayDrop = options.Value.WhenFull == WhenFull.Drop;
    private readonly ArrayBufferWriter<byte> batch = new(128 * 1024);
    private readonly TaskCompletionSource stopped = new(TaskCreationOptions.RunContinuationsAsynchronously);

    private int lines;
    private long dropped;

    /// <summary>Queues an event. When the queue is full and the settings allow it, drops the event.</summary>
    /// <returns>False: the queue is full. The caller must use <see cref="AddAsync"/>, which waits for room.</returns>
    public bool TryAdd(RequestEvent requestEvent)
    {
        if (queue.Writer.TryWrite(requestEvent))
            return true;
        if (mayDrop)
            Drop(1);
        return mayDrop;
    }

    /// <summary>Queues an event; waits while the queue is full.</summary>
    public ValueTask AddAsync(RequestEvent requestEvent, CancellationToken ct) => queue.Writer.WriteAsync(requestEvent, ct);

    /// <summary>Counts events that will not be written, for the metric and the next line in the log.</summary>
    public void Drop(int count)
    {
        Interlocked.Add(ref dropped, count);
        metrics.EventsDropped(count);
    }

    public Task StartAsync(CancellationToken cancellationToken)
    {
        output.Open();
        new Thread(WriteAll) { IsBackground = true, Name = "events" }.Start();
        return Task.CompletedTask;
    }

    /// <summary>
    /// Writes the events that are still queued. The web server has stopped before, so no request adds an event.
    /// </summary>
    public async Task StopAsync(CancellationToken cancellationToken)
    {
        queue.Writer.TryComplete();
        await stopped.Task.WaitAsync(cancellationToken);
    }

    private void WriteAll()
    {
        using var json = new Utf8JsonWriter(batch);
        // Waiting synchronously is right here, because this thread has no other work.
        while (queue.Reader.WaitToReadAsync().AsTask().GetAwaiter().GetResult())
        {
            while (queue.Reader.TryRead(out var requestEvent))
            {
                Append(requestEvent, json);
                if (++lines == MaxLines)
                    Flush();
            }

            Flush();
            ReportDropped();
            // The next batch collects meanwhile; a stop takes up to this much longer. The delay is real time even in a
            // test with a fake clock, because it only paces the writing.
            Thread.Sleep(BatchTime);
        }

        stopped.SetResult();
    }

    // An exception here would be a bug in one event, and must not stop the writing of the others.
    private void Append(RequestEvent requestEvent, Utf8JsonWriter json)
    {
        try
        {
            requestEvent.WriteTo(json);
            json.Flush();
        }
        catch (Exception e)
        {
            Log.Failed(logger, e, count: 1);
            metrics.EventsDropped(1);
        }

        json.Reset();
        batch.Write("\n"u8);
    }

    private void Flush()
    {
        // After any failure, such as a full disk or a closed pipe, tokens are still issued, and the operator gets a log
        // line.
        var written = output.Write(batch.WrittenSpan, out var failure);
        if (failure is not null)
        {
            lines -= batch.WrittenSpan[..written].Count((byte)'\n');
            Log.Failed(logger, failure, lines);
            metrics.EventsDropped(lines);
        }

        lines = 0;
        batch.ResetWrittenCount();
    }

    private void ReportDropped()
    {
        if (Interlocked.Exchange(ref dropped, 0) is var count and > 0)
            Log.Dropped(logger, count, clock.GetUtcNow());
    }

    private static partial class Log
    {
        [LoggerMessage(1, LogLevel.Warning,
            "{Count} events of requests were dropped until {Until:O}, because the event queue was full; the event log "
            + "lacks these requests. Write events to a faster disk or pipe, or raise Events:QueueLength")]
        public static partial void Dropped(ILogger logger, long count, DateTimeOffset until);

        [LoggerMessage(2, LogLevel.Error,
            "{Count} events of requests could not be written, and are lost. Tokens are still issued. Check the disk or "
            + "the pipe that the event log is written to")]
        public static partial void Failed(ILogger logger, Exception e, int count);
    }
}
