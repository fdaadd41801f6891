using System.Diagnostics;
using System.Net.Sockets;

namespace TokenService.Bench;

/// <param name="Sent">Requests.</param>
/// <param name="Failed">Those not answered 200 within the patience, or not sent by the end since no connection was free.</param>
/// <param name="Milliseconds">How long each answer took, sorted.</param>
internal sealed record Latencies(int Sent, int Failed, double[] Milliseconds)
{
    public double P50 => Percentile(50);

    public double P99 => Percentile(99);

    public double P100 => Percentile(100);

    private double Percentile(int percent) =>
        Milliseconds.Length == 0 ? double.NaN : Milliseconds[(Milliseconds.Length * percent + 99) / 100 - 1];
}

/// <summary>
/// Asks for tokens so many times a second, whether or not the answers keep up. On one thread, over connections kept open. A request that
/// finds none free is timed from when it was due, so that a server that stalls does not hide it.
/// </summary>
internal static class PacedLoad
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(5);

    /// <param name="port">Of the server.</param>
    /// <param name="requests">In turn.</param>
    /// <param name="perSecond">How many.</param>
    /// <param name="connections">Over how many connections.</param>
    /// <param name="time">For how long.</param>
    /// <param name="ct">Ends it.</param>
    public static Task<Latencies> RunAsync(
        int port, IReadOnlyList<byte[]> requests, double perSecond, int connections, TimeSpan time, CancellationToken ct) =>
        Task.Factory.StartNew(
            () => Run(port, requests, perSecond, connections, time, ct), ct, TaskCreationOptions.LongRunning, TaskScheduler.Default);

    private static Latencies Run(
        int port, IReadOnlyList<byte[]> requests, double perSecond, int connections, TimeSpan time, CancellationToken ct)
    {
        var lanes = Enumerable.Range(0, connections).Select(_ => new Lane(port)).ToArray();
        var free = new Stack<Lane>(lanes);
        var total = (int)(perSecond * time.TotalSeconds);
        var latencies = new List<double>(total);
        var interval = Stopwatch.Frequency / perSecond;
        // Between two requests that are further apart than a timer's tick the core is left to others.
        var mayRest = perSecond < 800;
        var (sent, failed, began) = (0, 0, Stopwatch.GetTimestamp());
        try
        {
            while (sent < total || free.Count < lanes.Length)
            {
                ct.ThrowIfCancellationRequested();
                var now = Stopwatch.GetTimestamp();
                if (Stopwatch.GetElapsedTime(began, now) > time + Patience)
                    break;

                var due = began + (long)(sent * interval);
                while (sent < total && due <= now && free.TryPop(out var lane))
                {
                    // What is late only because this thread slept is timed from now.
                    lane.Send(requests[sent % requests.Count], wasWaitedFor: free.Count == 0 ? due : Stopwatch.GetTimestamp());
                    sent++;
                    due = began + (long)(sent * interval);
                }

                foreach (var lane in lanes)
                {
                    if (!lane.IsBusy || lane.TryFinish() is not { } answer)
                        continue;
                    free.Push(lane);
                    if (answer.IsGrant)
                        latencies.Add(answer.Milliseconds);
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

    // Until an answer comes, or a millisecond has gone.
    private static void Rest(Lane[] lanes)
    {
        var waiting = lanes.Where(lane => lane.IsBusy).Select(lane => lane.Socket).ToList();
        if (waiting.Count == 0)
            Thread.Sleep(1);
        else
            Socket.Select(waiting, null, null, 1000);
    }

    private sealed class Lane(int port) : IDisposable
    {
        private Connection connection = new(port);
        private long from;

        public bool IsBusy => connection.IsBusy;

        public Socket Socket => connection.Socket;

        public void Send(byte[] request, long wasWaitedFor)
        {
            from = wasWaitedFor;
            connection.Send(request);
        }

        public (bool IsGrant, double Milliseconds)? TryFinish()
        {
            Answer? answer;
            try
            {
                answer = connection.TryReceive();
            }
            catch (SocketException)
            {
                answer = new Answer(0, 0);
            }

            if (answer is not { } whole)
                return null;
            if (whole.Status == 0)
            {
                connection.Dispose();
                connection = new Connection(port);
            }

            return (whole.Status == 200, Stopwatch.GetElapsedTime(from).TotalMilliseconds);
        }

        public void Dispose() => connection.Dispose();
    }
}
