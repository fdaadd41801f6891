using System.Buffers.Text;
using System.Diagnostics;
using System.Net;
using System.Net.Sockets;

namespace TokenService.Bench;

/// <param name="Status">The HTTP status; 0: the connection broke or timed out.</param>
/// <param name="BodyLength">In bytes.</param>
/// <param name="RetryAfter">In seconds; 0: the answer has no Retry-After.</param>
internal readonly record struct Answer(int Status, int BodyLength, int RetryAfter = 0);

/// <summary>A connection that carries one request at a time, with as few system calls as possible.</summary>
internal sealed class Connection : IDisposable
{
    private static readonly TimeSpan MaxConnectTime = TimeSpan.FromSeconds(5);

    private readonly byte[] buffer = new byte[16 * 1024];
    private int received;

    /// <exception cref="SocketException">
    /// The server refused the connection, or did not accept it within 5 seconds.
    /// </exception>
    public Connection(int port)
    {
        using var timeout = new CancellationTokenSource(MaxConnectTime);
        try
        {
            Socket.ConnectAsync(new IPEndPoint(IPAddress.Loopback, port), timeout.Token).AsTask().GetAwaiter().GetResult();
        }
        catch (OperationCanceledException)
        {
            throw new SocketException((int)SocketError.TimedOut);
        }
    }

    public Socket Socket { get; } = new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };

    /// <summary>True while a request waits for its answer.</summary>
    public bool IsBusy { get; private set; }

    public void Send(ReadOnlySpan<byte> request)
    {
        (received, IsBusy) = (0, true);
        Socket.Send(request);
    }

    /// <summary>Reads the bytes that have arrived, without waiting for more.</summary>
    /// <returns>The answer once it is complete; an answer with status 0 when the connection broke; else null.</returns>
    public Answer? TryReceive()
    {
        if (!Socket.Poll(0, SelectMode.SelectRead))
            return null;
        var count = received < buffer.Length ? Socket.Receive(buffer.AsSpan(received)) : 0;
        received += count;
        var answer = count == 0 ? new Answer(0, 0) : Parse(buffer.AsSpan(0, received));
        IsBusy = answer is null;
        return answer;
    }

    /// <summary>Sends, and waits for the answer.</summary>
    public Answer Ask(ReadOnlySpan<byte> request, TimeSpan timeout)
    {
        var began = Stopwatch.GetTimestamp();
        Send(request);
        while (Stopwatch.GetElapsedTime(began) < timeout)
        {
            Socket.Poll(10_000, SelectMode.SelectRead);
            if (TryReceive() is { } answer)
                return answer;
        }

        return new Answer(0, 0);
    }

    public void Dispose() => Socket.Dispose();

    // Every answer with a body has a Content-Length.
    private static Answer? Parse(ReadOnlySpan<byte> bytes)
    {
        var end = bytes.IndexOf("\r\n\r\n"u8);
        if (end < 0)
            return null;
        var head = bytes[..end];
        var status = Number(head["HTTP/1.1 ".Length..]);
        var length = Header(head, "Content-Length: "u8);
        return bytes.Length >= end + 4 + length ? new Answer(status, length, Header(head, "Retry-After: "u8)) : null;
    }

    // 0: the header is missing.
    private static int Header(ReadOnlySpan<byte> head, ReadOnlySpan<byte> name)
    {
        var at = head.IndexOf(name);
        return at < 0 ? 0 : Number(head[(at + name.Length)..]);
    }

    private static int Number(ReadOnlySpan<byte> digits) => Utf8Parser.TryParse(digits, out int number, out _) ? number : 0;
}
