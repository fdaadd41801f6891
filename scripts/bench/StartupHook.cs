using System.Globalization;
using System.Net.Sockets;
using System.Text;

// The runtime requires this class name in the global namespace. DOTNET_STARTUP_HOOKS runs it in the server's own
// process, without a change of the server.

/// <summary>
/// Sends the process's allocated bytes and garbage collections to each connection to the socket that BENCH_COUNTERS
/// names.
/// </summary>
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
                $"{GC.GetTotalAllocatedBytes(precise: true)} {GC.CollectionCount(0)} {GC.CollectionCount(2)} "
                + $"{GC.GetTotalPauseDuration().TotalMilliseconds}")));
        }
    }
}
