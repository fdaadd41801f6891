using System.Globalization;
using System.Net.Sockets;
using System.Text;

namespace TokenService.Tests.Harness;

/// <summary>A bare connection to a server, for requests no HTTP client would send.</summary>
internal sealed class RawConnection : IAsyncDisposable
{
    private readonly NetworkStream stream;

    // A server that does not answer fails the test instead of hanging the run.
    private readonly CancellationTokenSource timeout = new(TimeSpan.FromSeconds(30));

    private RawConnection(NetworkStream stream) => this.stream = stream;

    public static async Task<RawConnection> OpenAsync(TestServer server) => new(await server.ConnectAsync());

    public static async Task<RawConnection> OpenAsync(Uri address)
    {
        var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        try
        {
            await socket.ConnectAsync(address.Host, address.Port);
            return new RawConnection(new NetworkStream(socket, ownsSocket: true));
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    /// <summary>The head of a valid token request, up to the headers that a test adds about its body.</summary>
    public static string Head(TestClient client, string method = "POST") =>
        $"""
         {method} /token HTTP/1.1
         Host: 127.0.0.1
         Authorization: Basic {TokenRequestBuilder.Base64($"{client.Id}:{client.Secret}")}
         Content-Type: application/x-www-form-urlencoded

         """;

    /// <summary>Sends text unchanged, except for line ends, which become CRLF.</summary>
    public async Task<RawConnection> SendAsync(string text)
    {
        await stream.WriteAsync(Encoding.Latin1.GetBytes(text.ReplaceLineEndings("\r\n")), timeout.Token);
        return this;
    }

    /// <summary>Ends the sending side of the connection; the answer can still be read.</summary>
    public void EndSending() => stream.Socket.Shutdown(SocketShutdown.Send);

    /// <summary>Resets the connection, instead of closing it.</summary>
    public void Reset()
    {
        stream.Socket.LingerState = new LingerOption(enable: true, seconds: 0);
        stream.Dispose();
    }

    /// <summary>One line, without its end.</summary>
    public async Task<string> ReadLineAsync()
    {
        var line = new StringBuilder();
        var one = new byte[1];
        while (!line.ToString().EndsWith("\r\n", StringComparison.Ordinal))
        {
            await stream.ReadExactlyAsync(one, timeout.Token);
            line.Append((char)one[0]);
        }

        return line.ToString().TrimEnd();
    }

    public async Task<Answer> ReadAnswerAsync()
    {
        var status = int.Parse((await ReadLineAsync()).Split(' ')[1], CultureInfo.InvariantCulture);
        var headers = new Dictionary<string, string>(StringComparer.OrdinalIgnoreCase);
        while (await ReadLineAsync() is { Length: > 0 } header)
        {
            var colon = header.IndexOf(':', StringComparison.Ordinal);
            var (name, value) = (header[..colon], header[(colon + 2)..]);
            headers[name] = headers.TryGetValue(name, out var before) ? $"{before}, {value}" : value;
        }

        var body = new byte[int.Parse(headers["Content-Length"], CultureInfo.InvariantCulture)];
        await stream.ReadExactlyAsync(body, timeout.Token);
        var requestId = headers.GetValueOrDefault("Request-Id", "");
        foreach (var ignored in new[] { "Date", "Request-Id", "Content-Length" })
            headers.Remove(ignored);
        return new Answer(status, headers, Encoding.UTF8.GetString(body)) { RequestId = requestId };
    }

    /// <summary>True when the server closes this connection, or resets it, without another byte.</summary>
    public async Task<bool> IsClosedAsync()
    {
        try
        {
            return await stream.ReadAsync(new byte[1], timeout.Token) == 0;
        }
        catch (IOException e) when (e.InnerException is SocketException { SocketErrorCode: SocketError.ConnectionReset })
        {
            return true;
        }
    }

    public async ValueTask DisposeAsync()
    {
        await stream.DisposeAsync();
        timeout.Dispose();
    }
}
