using System.Diagnostics;
using System.Net.Sockets;

namespace TokenService.Bench;

/// <summary>A connection kept open, which is opened again after it broke, with the duration of its request.</summary>
internal sealed class Lane(int port) : IDisposable
{
    private Connection connection = new(port);
    private bool isBroken;
    private long from;

    public bool IsBusy => isBroken || connection.IsBusy;

    /// <summary>The socket to wait for; it is another one after the connection broke.</summary>
    public Socket Socket => connection.Socket;

    /// <param name="request">A complete request.</param>
    /// <param name="timedFrom">The timestamp from which its duration counts.</param>
    public void Send(byte[] request, long timedFrom)
    {
        from = timedFrom;
        try
        {
            connection.Send(request);
        }
        catch (SocketException)
        {
            isBroken = true;
        }
    }

    /// <returns>The answer once it is complete; status 0 when the connection broke; else null.</returns>
    public (Answer Answer, double Milliseconds)? TryFinish()
    {
        if (TryReceive() is not { } answer)
            return null;
        var milliseconds = Stopwatch.GetElapsedTime(from).TotalMilliseconds;
        if (answer.Status == 0)
        {
            connection.Dispose();
            connection = new Connection(port);
            isBroken = false;
        }

        return (answer, milliseconds);
    }

    public void Dispose() => connection.Dispose();

    private Answer? TryReceive()
    {
        try
        {
            return isBroken ? new Answer(0, 0) : connection.TryReceive();
        }
        catch (SocketException)
        {
            return new Answer(0, 0);
        }
    }
}
