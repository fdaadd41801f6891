using System.Diagnostics;
using System.Net.Sockets;

namespace TokenService.Bench;

/// <summary>
/// Recognised clients that open a connection for each token, one after another. Each that gets no token within 5
/// seconds has failed.
/// </summary>
internal sealed class NewConnections(int port, IReadOnlyList<BenchClient> clients)
{
    private static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(50);
    private static readonly TimeSpan MaxWait = TimeSpan.FromSeconds(5);

    public Task<Latencies> MeasureAsync(TimeSpan time, CancellationToken ct) =>
        Task.Factory.StartNew(() => Measure(time, ct), ct, TaskCreationOptions.LongRunning, TaskScheduler.Default);

    private Latencies Measure(TimeSpan time, CancellationToken ct)
    {
        var requests = clients.Select(client => client.Request).ToArray();
        var (sent, began, durations) = (0, Stopwatch.GetTimestamp(), new List<double>());
        while (Stopwatch.GetElapsedTime(began) < time)
        {
            ct.ThrowIfCancellationRequested();
            if (TryAsk(requests[sent++ % requests.Length]) is { } duration)
                durations.Add(duration.TotalMilliseconds);
            Thread.Sleep(Interval);
        }

        durations.Sort();
        return new Latencies(sent, sent - durations.Count, [.. durations]);
    }

    // Null: it failed.
    private TimeSpan? TryAsk(byte[] request)
    {
        var began = Stopwatch.GetTimestamp();
        try
        {
            using var connection = new Connection(port);
            return connection.Ask(request, MaxWait).Status == 200 ? Stopwatch.GetElapsedTime(began) : null;
        }
        catch (SocketException)
        {
            return null;
        }
    }
}
