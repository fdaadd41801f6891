using System.Globalization;
using System.Net.Sockets;
using System.Text;

// In the global namespace and of this name, as the runtime wants it: DOTNET_STARTUP_HOOKS runs it in the server's own process, which needs
// to know nothing of it.

/// <summary>Tells whoever connects to the socket BENCH_COUNTERS what the process has allocated and how often it has collected.</summary>
internal static class StartupHook
{
    public const string Variable = "BENCH_COUNTERS";

    public static void Initialize()
    {
        if (Environment.GetEnvironmentVariable(Variable) is { Length: > 0 } path)
            new Thread(() => Answer(path)) { IsBackground = true, Name = "Counters" }.Start();
    }

    private static void Answer(string path)
    {
        using var listener = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        listener.Bind(new UnixDomainSocketEndPoint(path));
        listener.Listen();
        while (true)
        {
            using var connection = listener.Accept();
            connection.Send(Encoding.ASCII.GetBytes(string.Create(CultureInfo.InvariantCulture,
                $"{GC.GetTotalAllocatedBytes(precise: true)} {GC.CollectionCount(0)} {GC.CollectionCount(2)} {GC.GetTotalPauseDuration().TotalMilliseconds}")));
        }
    }
}
