using System.Buffers;
using System.Text.Json;
using System.Threading.Channels;
using Microsoft.Extensions.Options;
using TokenService.Telemetry;

namespace TokenService.Audit;

/// <summary>
/// Writes one JSON line for each request, in batches, on a thread of its own. Requests put their events into a bounded
/// queue. When the queue is full, the request waits or its event is dropped, as configured. When a write fails, the
/// lines are kept until they can be written and nothing is granted meanwhile, or they are lost, as configured. Events
/// that are dropped or lost are counted and logged, so none is lost silently. When the server stops, queued events are
/// still written.
/// </summary>
internal sealed partial class EventLog(
    EventOutput output, IOptions<EventLogOptions> options, Metrics metrics, TimeProvider clock, ILogger<EventLog> logger)
    : IHostedService
{
    // Lines in one write, about 128 KiB.
    private const int MaxLines = 256;

    // How late a line may be written. A person who reads the log does not notice it, and it makes large batches.
    private static readonly TimeSpan BatchTime = TimeSpan.FromMilliseconds(25);

    // How long to wait after a write that failed.
    private static readonly TimeSpan RetryTime = TimeSpan.FromSeconds(1);

    private readonly Channel<RequestEvent> queue = Channel.CreateBounded<RequestEvent>(
        new BoundedChannelOptions(options.Value.QueueLength) { SingleReader = true });

    private readonly bool mayDrop = options.Value.WhenFull == WhenFull.Drop;
    private readonly ArrayBufferWriter<byte> batch = new(128 * 1024);
    private readonly TaskCompletionSource stopping = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource stopped = new(TaskCreationOptions.RunContinuationsAsynchronously);

    // Completes when a write fails. A write that succeeds again puts a new one in its place.
    private volatile TaskCompletionSource failed = new(TaskCreationOptions.RunContinuationsAsynchronously);

    // Lines of the batch that are not written yet, and where they begin in it.
    private int lines;
    private int begin;

    private long dropped;
    private long lost;

    /// <summary>
    /// The last write failed. Until a write succeeds again, no request may be granted. Always false under
    /// <see cref="WhenFull.Drop"/>.
    /// </summary>
    public bool IsFailing => failed.Task.IsCompleted;

    /// <summary>
    /// Queues an event. When the queue is full, drops the event if the settings allow it, and the event of a refusal
    /// also while writing fails.
    /// </summary>
    /// <returns>False: the queue is full. The caller must use <see cref="AddAsync"/>, which waits for room.</returns>
    public bool TryAdd(RequestEvent requestEvent)
    {
        if (queue.Writer.TryWrite(requestEvent))
            return true;
        if (!mayDrop && (requestEvent.Error is null || !IsFailing))
            return false;
        Drop(1);
        return true;
    }

    /// <summary>Queues an event; waits while the queue is full.</summary>
    /// <returns>False: a write failed, and the event is not queued. The request must be refused.</returns>
    public async ValueTask<bool> AddAsync(RequestEvent requestEvent, CancellationToken ct)
    {
        using var waiting = CancellationTokenSource.CreateLinkedTokenSource(ct);
        var adding = queue.Writer.WriteAsync(requestEvent, waiting.Token).AsTask();
        await Task.WhenAny(adding, failed.Task);
        await waiting.CancelAsync();
        try
        {
            await adding;
            return true;
        }
        catch (OperationCanceledException) when (!ct.IsCancellationRequested)
        {
            return false;
        }
    }

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
    /// Writes the events that are still queued. The web server has stopped before, so no request adds an event. Events
    /// that cannot be written now, or not in time, are lost.
    /// </summary>
    public async Task StopAsync(CancellationToken cancellationToken)
    {
        stopping.TrySetResult();
        queue.Writer.TryComplete();
        try
        {
            await stopped.Task.WaitAsync(cancellationToken);
        }
        // A write takes too long, such as one into a full pipe whose reader does not read.
        catch (OperationCanceledException)
        {
            Lose(Volatile.Read(ref lines) + queue.Reader.Count);
        }

        if (Interlocked.Read(ref lost) is var count and > 0)
            Log.Lost(logger, count);
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

    // Under Wait, the batch is tried again until it is written. When the server stops, it is tried once more.
    private void Flush()
    {
        while (lines > 0 && Write() is { } failure)
        {
            if (mayDrop)
            {
                Log.Failed(logger, failure, lines);
                metrics.EventsDropped(lines);
                break;
            }

            if (!IsFailing)
                BeginFailing(failure);
            if (stopping.Task.IsCompleted)
            {
                Lose(lines);
                break;
            }

            Task.WaitAny(Task.Delay(RetryTime, clock), stopping.Task);
        }

        (lines, begin) = (0, 0);
        batch.ResetWrittenCount();
    }

    /// <returns>Why some or all of the lines were not written; null: all of them were.</returns>
    private Exception? Write()
    {
        var rest = batch.WrittenSpan[begin..];
        var written = output.Write(rest, out var failure);
        begin += written;
        lines -= rest[..written].Count((byte)'\n');
        if (failure is null && IsFailing)
            EndFailing();
        return failure;
    }

    private void BeginFailing(Exception failure)
    {
        failed.SetResult();
        Log.Failing(logger, failure.Message, RetryTime);
    }

    private void EndFailing()
    {
        failed = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        Log.Restored(logger);
    }

    private void Lose(int count)
    {
        Interlocked.Add(ref lost, count);
        metrics.EventsDropped(count);
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

        [LoggerMessage(3, LogLevel.Error,
            "Events of requests cannot be written: {Cause}. Until they can, requests to /token, /introspect and /revoke get "
            + "503, and no token is issued. The events are kept, and tried again every {RetryTime}. Make room on the disk, or "
            + "start the program again that reads the pipe. If the reader of standard output has ended, restart the server")]
        public static partial void Failing(ILogger logger, string cause, TimeSpan retryTime);

        [LoggerMessage(4, LogLevel.Information,
            "Events of requests are written again, beginning with those that were kept. Tokens are issued again")]
        public static partial void Restored(ILogger logger);

        [LoggerMessage(5, LogLevel.Error,
            "{Count} events of requests are lost, because they could not be written before the server stopped. Some of "
            + "them may be of tokens that were issued. Check the disk or the pipe that the event log is written to")]
        public static partial void Lost(ILogger logger, long count);
    }
}
