using System.ComponentModel;
using System.Runtime.InteropServices;
using Npgsql;

namespace TokenService.Bench;

/// <summary>Runs a measurement, ends it at a limit or a signal, and turns its exceptions into an exit code.</summary>
internal static class Measurement
{
    /// <param name="limit">The maximum duration.</param>
    /// <param name="measure">Returns the exit code.</param>
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
            await Console.Error.WriteLineAsync("The measurement was interrupted or took too long.");
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
