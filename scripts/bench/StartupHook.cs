using System.Globalization;
using System.Text;

// The runtime requires this class name in the global namespace. DOTNET_STARTUP_HOOKS runs it in the server's own
// process, without a change of the server.

/// <summary>
/// Writes the process's allocated bytes and garbage collections to each reader of the named pipe that BENCH_COUNTERS
/// names. (With a socket, the runtime would start its thread for sockets before the server has set its scheduling.)
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
        while (true)
        {
            try
            {
                // Waits here until somebody opens the pipe to read.
                using var pipe = new FileStream(path, FileMode.Open, FileAccess.Write, FileShare.ReadWrite, bufferSize: 0);
                pipe.Write(Encoding.ASCII.GetBytes(string.Create(CultureInfo.InvariantCulture,
                    $"{GC.GetTotalAllocatedBytes(precise: true)} {GC.CollectionCount(0)} "
                    + $"{GC.GetTotalPauseDuration().TotalMilliseconds}\n")));
            }
            catch (IOException)
            {
                // The reader had read what it wanted, and closed the pipe.
            }

            // A reader that has its line closes the pipe meanwhile, so that the next one is waited for. Should it take longer, it
            // only makes the next one read again.
            Thread.Sleep(1);
        }
    }
}
