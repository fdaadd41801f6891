using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;
using Npgsql;

namespace TokenService.Tests.Harness;

/// <summary>
/// A proxy in front of PostgreSQL. A test can cut its connections, which both ends notice, or hold back all that they
/// send, which neither end notices.
/// </summary>
internal sealed class DatabaseProxy : IDisposable
{
    private readonly TcpListener door = new(IPAddress.Loopback, 0);
    private readonly ConcurrentBag<Link> links = [];
    private readonly NpgsqlConnectionStringBuilder target;
    private volatile bool isCut;
    private volatile bool isLending;
    private volatile Silence? silence;
    private volatile int accepted;

    public DatabaseProxy(Database database)
    {
        target = new NpgsqlConnectionStringBuilder(database.ConnectionString);
        door.Start();
        _ = AcceptAsync();
    }

    public string ConnectionString => new NpgsqlConnectionStringBuilder(target.ConnectionString)
    {
        Host = "127.0.0.1",
        Port = ((IPEndPoint)door.LocalEndpoint).Port,
        // Without TLS the proxy can read the traffic.
        SslMode = SslMode.Disable,
    }.ConnectionString;

    /// <summary>The number of connections that the server under test has opened.</summary>
    public int Accepted => accepted;

    public void Cut()
    {
        isCut = true;
        while (links.TryTake(out var link))
            link.Dispose();
    }

    public void Mend() => isCut = false;

    /// <summary>
    /// From now on LISTEN succeeds and has no effect, as through a pooler in transaction mode.
    /// </summary>
    public void LendByTransaction() => isLending = true;

    /// <summary>Holds back both directions of the connections that listen for notifications, also new ones.</summary>
    public void SilenceListeners() => silence = new Silence(link => link.IsListening);

    /// <summary>Holds back everything, as when the server hangs.</summary>
    public void SilenceAll() => silence = new Silence(_ => true);

    /// <summary>Lets through what was held back, and everything after it.</summary>
    public void Speak()
    {
        var over = silence;
        silence = null;
        over?.Over.TrySetResult();
    }

    public void Dispose()
    {
        Cut();
        Speak();
        door.Dispose();
    }

    private async Task AcceptAsync()
    {
        while (true)
        {
            var near = await door.AcceptSocketAsync();
            if (isCut)
            {
                near.Dispose();
                continue;
            }

            accepted++;
            var link = new Link(near, await ConnectAsync());
            links.Add(link);
            _ = CopyAsync(link, link.Near, link.Far);
            _ = CopyAsync(link, link.Far, link.Near);
        }
    }

    private async Task<Socket> ConnectAsync()
    {
        if (!target.Host!.StartsWith('/'))
        {
            var tcp = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
            await tcp.ConnectAsync(target.Host, target.Port);
            return tcp;
        }

        var unix = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        await unix.ConnectAsync(new UnixDomainSocketEndPoint($"{target.Host}/.s.PGSQL.{target.Port}"));
        return unix;
    }

    private async Task CopyAsync(Link link, Socket from, Socket to)
    {
        var buffer = new byte[16 * 1024];
        while (await from.ReceiveAsync(buffer) is > 0 and var length)
        {
            if (from == link.Near && buffer.AsSpan(0, length).IndexOf("listen token_service"u8) >= 0)
            {
                link.IsListening = true;
                if (isLending)
                    Replace(buffer.AsSpan(0, length), "listen token_service"u8, "unlisten *          "u8);
            }

            while (silence is { } now && now.Holds(link))
                await now.Over.Task;
            for (var sent = 0; sent < length;)
                sent += await to.SendAsync(buffer.AsMemory(sent, length - sent));
        }

        to.Shutdown(SocketShutdown.Send);
    }

    private static void Replace(Span<byte> sent, ReadOnlySpan<byte> words, ReadOnlySpan<byte> others) =>
        others.CopyTo(sent.Slice(sent.IndexOf(words), words.Length));

    private sealed class Link(Socket near, Socket far) : IDisposable
    {
        private volatile bool isListening;

        /// <summary>Towards the server under test.</summary>
        public Socket Near => near;

        /// <summary>Towards PostgreSQL.</summary>
        public Socket Far => far;

        public bool IsListening
        {
            get => isListening;
            set => isListening = value;
        }

        public void Dispose()
        {
            near.Dispose();
            far.Dispose();
        }
    }

    private sealed record Silence(Predicate<Link> Holds)
    {
        public TaskCompletionSource Over { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
    }
}
