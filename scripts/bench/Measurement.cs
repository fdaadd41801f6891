using System.ComponentModel;
using System.Runtime.InteropServices;
using Npgsql;

namespace TokenService.Bench;

/// <summary>A measurement as a whole: it ends in time whatever happens, and takes what it started with it.</summary>
internal static class Measurement
{
    /// <param name="limit">In all.</param>
    /// <param name="measure">The measurement; its exit code.</param>
    public static async Task<int> RunAsync(TimeSpan limit, Func<CancellationToken, Task<int>> measure)
    {
        using var end = new CancellationTokenSource(limit);
        using var interrupted = PosixSignalRegistration.Create(PosixSignal.SIGINT, End);
        using var terminated = PosixSignalRegistration.Create(PosixSignal.SIGTERM, End);
        using var hungUp = PosixSignalRegistration.Create(PosixSignal.SIGHUP, End);
        try
        {
            return await measure(end.Token);
        }
        catch (Exception) when (end.IsCancellationRequested)
        {
            await Console.Error.WriteLineAsync("Ended before its time.");
            return 130;
        }
        catch (Exception e) when (e is InvalidOperationException or HttpRequestException or NpgsqlException or TimeoutException
            or IOException or UnauthorizedAccessException or Win32Exception)
        {
            await Console.Error.WriteLineAsync(e.Message);
            return 1;
        }

        void End(PosixSignalContext signal)
        {
            signal.Cancel = true;
            end.Cancel();
        }
    }
}
