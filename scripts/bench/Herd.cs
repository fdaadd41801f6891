using System.Diagnostics;
using System.Net.Sockets;

namespace TokenService.Bench;

/// <param name="Client">Which of the requests was answered, from 0.</param>
/// <param name="Status">The HTTP status; 0: the connection broke, or the answer did not come in time.</param>
/// <param name="RetryAfter">Its Retry-After, in seconds; 0: it has none.</param>
/// <param name="Milliseconds">The duration of the answer.</param>
internal readonly record struct HerdAnswer(int Client, int Status, int RetryAfter, double Milliseconds);

/// <summary>
/// Sends requests as fast as the answers come, on one thread and over connections kept open. It counts requests, which
/// wrk does not, so that each client can ask exactly once.
/// </summary>
internal static class Herd
{
    private static readonly TimeSpan MaxWait = TimeSpan.FromSeconds(15);

    /// <param name="port">The server's port.</param>
    /// <param name="requests">Sent in turn, again from the first when there are more to send.</param>
    /// <param name="count">How many requests to send at most.</param>
    /// <param name="connections">The number of connections.</param>
    /// <param name="time">No request is sent after this time.</param>
    /// <param name="ct">Ends the load early.</param>
    /// <returns>The answers in the order in which they came.</returns>
    public static Task<List<HerdAnswer>> RunAsync(
        int port, IReadOnlyList<byte[]> requests, int count, int connections, TimeSpan time, CancellationToken ct) =>
        Task.Factory.StartNew(
            () => Run(port, requests, count, connections, time, ct), ct, TaskCreationOptions.LongRunning, TaskScheduler.Default);

    private static List<HerdAnswer> Run(
        int port, IReadOnlyList<byte[]> requests, int count, int connections, TimeSpan time, CancellationToken ct)
    {
        var lanes = Enumerable.Range(0, connections).Select(_ => new HerdLane(new Lane(port))).ToArray();
        var answers = new List<HerdAnswer>();
        var (sent, began) = (0, Stopwatch.GetTimestamp());
        try
        {
            while (true)
            {
                ct.ThrowIfCancellationRequested();
                var elapsed = Stopwatch.GetElapsedTime(began);
                foreach (var lane in lanes)
                {
                    if (lane.IsBusy || sent == count || elapsed > time)
                        continue;
                    lane.Send(requests, sent++ % requests.Count);
                }

                var busy = lanes.Where(lane => lane.IsBusy).ToList();
                if (busy.Count == 0)
                    return answers;
                if (elapsed > time + MaxWait)
                    return [.. answers, .. busy.Select(lane => new HerdAnswer(lane.Client, 0, 0, MaxWait.TotalMilliseconds))];

                Socket.Select(busy.Select(lane => lane.Socket).ToList(), null, null, 10_000);
                answers.AddRange(busy.Select(lane => lane.TryFinish()).OfType<HerdAnswer>());
            }
        }
        finally
        {
            foreach (var lane in lanes)
                lane.Dispose();
        }
    }

    private sealed class HerdLane(Lane lane) : IDisposable
    {
        public int Client { get; private set; }

        public bool IsBusy => lane.IsBusy;

        public Socket Socket => lane.Socket;

        public void Send(IReadOnlyList<byte[]> requests, int client)
        {
            Client = client;
            lane.Send(requests[client], Stopwatch.GetTimestamp());
        }

        public HerdAnswer? TryFinish() => lane.TryFinish() is not { } finished
            ? null
            : new HerdAnswer(Client, finished.Answer.Status, finished.Answer.RetryAfter, finished.Milliseconds);

        public void Dispose() => lane.Dispose();
    }
}
