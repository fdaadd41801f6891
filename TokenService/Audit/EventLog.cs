using System.Buffers;
using System.Text.Json;
using System.Threading.Channels;
using Microsoft.Extensions.Options;
using TokenService.Telemetry;

namespace TokenService.Audit;

/// <summary>
/// Writes one JSON line for each request, in batches, on a thread of its own. Between it and the requests is a bounded queue; when that is
/// full, a request waits or its event is dropped, as configured. What is dropped or cannot be written is counted and said in the log: nothing
/// is lost silently. What is queued when the server stops is still written.
/// </summary>
internal sealed partial class EventLog(
    EventOutput output, IOptions<EventLogOptions> options, Metrics metrics, TimeProvider clock, ILogger<EventLog> logger) : IHostedService
{
    // As many as one write takes, about 128 KiB, and as long as a line may be in coming: short for a reader, long for a processor.
    private const int MaxLines = 256;
    private static readonly TimeSpan BatchTime = TimeSpan.FromMilliseconds(25);

    private readonly Channel<RequestEvent> queue = Channel.CreateBounded<RequestEvent>(
        new BoundedChannelOptions(options.Value.QueueLength) { SingleReader = true });

    private readonly bool mayDrop = options.Value.WhenFull == WhenFull.Drop;
    private readonly ArrayBufferWriter<byte> batch = new(128 * 1024);
    private readonly TaskCompletionSource written = new(TaskCreationOptions.RunContinuationsAsynchronously);

    private int lines;
    private long dropped;

    /// <summary>Takes an event, if there is room or it may be dropped.</summary>
    /// <returns>False: the queue is full, and the request is to wait with <see cref="AddAsync"/> until there is room.</returns>
    public bool TryAdd(RequestEvent requestEvent)
    {
        if (queue.Writer.TryWrite(requestEvent))
            return true;
        if (mayDrop)
            Drop(1);
        return mayDrop;
    }

    /// <summary>Takes an event, as soon as there is room.</summary>
    public ValueTask AddAsync(RequestEvent requestEvent, CancellationToken ct) => queue.Writer.WriteAsync(requestEvent, ct);

    /// <summary>Counts events that will not be written.</summary>
    public void Drop(int count)
    {
        Interlocked.Add(ref dropped, count);
        metrics.EventsDropped(count);
    }

    public Task StartAsync(CancellationToken cancellationToken)
    {
        output.Check();
        new Thread(WriteAll) { IsBackground = true, Name = "events" }.Start();
        return Task.CompletedTask;
    }

    /// <summary>No request comes in any more: the server was started last, and stops first.</summary>
    public async Task StopAsync(CancellationToken cancellationToken)
    {
        queue.Writer.TryComplete();
        await written.Task.WaitAsync(cancellationToken);
    }

    private void WriteAll()
    {
        using var json = new Utf8JsonWriter(batch);
        // This thread may wait: it has nothing else to do.
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
            // Lets the next batch gather. This thread has nothing else to do, and a stop may take so much longer. Not by the server's
            // clock, which says when things happen, not how they are written.
            Thread.Sleep(BatchTime);
        }

        written.SetResult();
    }

    // An event that cannot be written, which would be a bug, must not end the writing of all others.
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
        try
        {
            if (lines > 0)
                output.Write(batch.WrittenSpan);
        }
        // Whatever it is: a full disk, a pipe nobody reads. Tokens are issued all the same, and the operator hears of it.
        catch (Exception e)
        {
            Log.Failed(logger, e, lines);
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
        [LoggerMessage(1, LogLevel.Warning, "{Count} events of requests were dropped until {Until:O}: more came than could be written")]
        public static partial void Dropped(ILogger logger, long count, DateTimeOffset until);

        [LoggerMessage(2, LogLevel.Error, "{Count} events of requests could not be written, and are lost")]
        public static partial void Failed(ILogger logger, Exception e, int count);
    }
}
