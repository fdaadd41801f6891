using System.Diagnostics;
using System.Net.Sockets;

namespace TokenService.Bench;

/// <param name="Sent">The number of requests.</param>
/// <param name="Failed">
/// Requests not answered 200 in time, and requests not sent by the end because no connection was free.
/// </param>
/// <param name="Milliseconds">The duration of each answer, sorted.</param>
internal sealed record Latencies(int Sent, int Failed, double[] Milliseconds)
{
    public double P50 => Percentile(50);

    public double P99 => Percentile(99);

    public double P100 => Percentile(100);

    private double Percentile(int percent) =>
        Milliseconds.Length == 0 ? double.NaN : Milliseconds[(Milliseconds.Length * percent + 99) / 100 - 1];
}

/// <summary>
/// Requests tokens at a fixed rate, whether or not the answers keep up, on one thread and over connections kept open.
/// When no connection is free, the latency of a request counts from when it was due, so that a stalled server does not
/// look fast.
/// </summary>
internal static class PacedLoad
{
    private static readonly TimeSpan MaxWait = TimeSpan.FromSeconds(5);

    /// <param name="port">The server's port.</param>
    /// <param name="requests">Sent in turn.</param>
    /// <param name="perSecond">The rate.</param>
    /// <param name="connections">The number of connections.</param>
    /// <param name="time">The duration.</param>
    /// <param name="ct">Ends the load early.</param>
    /// <param name="mustRest">
    /// Whether the thread also sleeps at a high rate, because others need its core; requests are then up to 1 ms late.
    /// </param>
    public static Task<Latencies> RunAsync(
        int port, IReadOnlyList<byte[]> requests, double perSecond, int connections, TimeSpan time, CancellationToken ct,
        bool mustRest = false) =>
        Task.Factory.StartNew(
            () => Run(port, requests, perSecond, connections, time, mustRest, ct), ct, TaskCreationOptions.LongRunning,
            TaskScheduler.Default);

    private static Latencies Run(
        int port, IReadOnlyList<byte[]> requests, double perSecond, int connections, TimeSpan time, bool mustRest, CancellationToken ct)
    {
        var lanes = Enumerable.Range(0, connections).Select(_ => new Lane(port)).ToArray();
        var free = new Stack<Lane>(lanes);
        var total = (int)(perSecond * time.TotalSeconds);
        var latencies = new List<double>(total);
        var interval = Stopwatch.Frequency / perSecond;
        // At a low rate the thread sleeps between requests and leaves the core to other processes.
        var mayRest = mustRest || perSecond < 800;
        var (sent, failed, began) = (0, 0, Stopwatch.GetTimestamp());
        try
        {
            while (sent < total || free.Count < lanes.Length)
            {
                ct.ThrowIfCancellationRequested();
                var now = Stopwatch.GetTimestamp();
                if (Stopwatch.GetElapsedTime(began, now) > time + MaxWait)
                    break;

                var due = began + (long)(sent * interval);
                while (sent < total && due <= now && free.TryPop(out var lane))
                {
                    // When a connection was free, the request is late only because this thread slept, so it is timed
                    // from now.
                    lane.Send(
                        requests[sent % requests.Count], timedFrom: free.Count == 0 ? due : Stopwatch.GetTimestamp());
                    sent++;
                    due = began + (long)(sent * interval);
                }

                foreach (var lane in lanes)
                {
                    if (!lane.IsBusy || lane.TryFinish() is not { } finished)
                        continue;
                    free.Push(lane);
                    if (finished.Answer.Status == 200)
                        latencies.Add(finished.Milliseconds);
                    else
                        failed++;
                }

                if (mayRest)
                    Rest(lanes);
            }

            failed += lanes.Count(lane => lane.IsBusy) + (total - sent);
            latencies.Sort();
            return new Latencies(total, failed, [.. latencies]);
        }
        finally
        {
            foreach (var lane in lanes)
                lane.Dispose();
        }
    }

    // Sleeps until an answer arrives or a millisecond has passed.
    private static void Rest(Lane[] lanes)
    {
        var waiting = lanes.Where(lane => lane.IsBusy).Select(lane => lane.Socket).ToList();
        if (waiting.Count == 0)
            Thread.Sleep(1);
        else
            Socket.Select(waiting, null, null, 1000);
    }
}
