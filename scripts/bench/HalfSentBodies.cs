using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace TokenService.Bench;

/// <summary>
/// A flood of connections that each send the headers and half the body of a token request, and then nothing. When the
/// server closes one, it is opened again. It runs as a process of its own, which needs a file for each connection.
/// </summary>
internal sealed class HalfSentBodies(int port)
{
    private static readonly byte[] Half = Encoding.ASCII.GetBytes(
        "POST /token HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 200\r\n\r\n"
        + new string('x', 100));

    // The pause before a connection that the server refused or reset is opened again.
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(100);

    private int open;
    private int mostOpen;
    private int opened;
    private int answered;
    private int broken;
    private long answeredAfter; // the sum, as ticks of TimeSpan

    /// <summary>
    /// Floods, and prints how many connections were open at most, opened, answered and broken, and after how many seconds
    /// they were answered on average.
    /// </summary>
    public static async Task<int> RunAsync(int port, int connections, double seconds)
    {
        var flood = new HalfSentBodies(port);
        using var end = new CancellationTokenSource(TimeSpan.FromSeconds(seconds));
        await Task.WhenAll(Enumerable.Range(0, connections).Select(_ => flood.HoldAsync(end.Token)));
        var after = TimeSpan.FromTicks(flood.answeredAfter / Math.Max(1, flood.answered)).TotalSeconds;
        Console.WriteLine(string.Create(
            CultureInfo.InvariantCulture, $"{flood.mostOpen} {flood.opened} {flood.answered} {flood.broken} {after}"));
        return 0;
    }

    private async Task HoldAsync(CancellationToken end)
    {
        while (!end.IsCancellationRequested)
        {
            if (await TryHoldAsync(end))
                continue;
            Interlocked.Increment(ref broken);
            await Task.Delay(Pause, CancellationToken.None);
        }
    }

    // False: the server refused or reset the connection.
    private async Task<bool> TryHoldAsync(CancellationToken end)
    {
        // Closed by a reset, so that no port waits for the last packets of a connection.
        using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp)
        {
            LingerState = new LingerOption(enable: true, seconds: 0),
        };
        try
        {
            await socket.ConnectAsync(new IPEndPoint(IPAddress.Loopback, port), end);
        }
        catch (Exception e) when (e is SocketException or OperationCanceledException)
        {
            return e is OperationCanceledException;
        }

        Interlocked.Increment(ref opened);
        CountOpen();
        var began = Stopwatch.GetTimestamp();
        try
        {
            await socket.SendAsync(Half, end);
            if (await socket.ReceiveAsync(new byte[64], end) == 0)
                return false;
            Interlocked.Increment(ref answered);
            Interlocked.Add(ref answeredAfter, Stopwatch.GetElapsedTime(began).Ticks);
            return true;
        }
        catch (Exception e) when (e is SocketException or OperationCanceledException)
        {
            return e is OperationCanceledException;
        }
        finally
        {
            Interlocked.Decrement(ref open);
        }
    }

    private void CountOpen()
    {
        var now = Interlocked.Increment(ref open);
        var most = Volatile.Read(ref mostOpen);
        while (most < now && Interlocked.CompareExchange(ref mostOpen, now, most) != most)
            most = Volatile.Read(ref mostOpen);
    }
}
