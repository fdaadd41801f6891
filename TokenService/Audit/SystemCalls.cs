using System.Runtime.InteropServices;
using System.Runtime.Versioning;
using Microsoft.Win32.SafeHandles;

namespace TokenService.Audit;

/// <summary>Calls of the C library that the event log needs and .NET does not offer.</summary>
internal static partial class SystemCalls
{
    private const int Interrupted = 4; // EINTR
    private const int SetFlags = 4; // F_SETFL
    private const int Append = 0x400; // O_APPEND on Linux

    private static readonly int WouldBlock = OperatingSystem.IsLinux() ? 11 : 35; // EAGAIN

    // A pipe that is full holds 64 KiB, so a reader that is always ready still takes 12 MiB a second.
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(5);

    /// <summary>
    /// Writes at the offset that all holders of the descriptor share. Waits while a non-blocking pipe is full.
    /// </summary>
    /// <returns>How many bytes were written; it may be fewer than all.</returns>
    /// <exception cref="IOException">The write failed, and no byte was written.</exception>
    [UnsupportedOSPlatform("windows")]
    public static int Write(SafeFileHandle file, ReadOnlySpan<byte> bytes)
    {
        while (true)
        {
            if (write(file, bytes, (nuint)bytes.Length) is var written and >= 0)
                return (int)written;
            var error = Marshal.GetLastPInvokeError();
            if (error == WouldBlock)
                Thread.Sleep(Pause);
            else if (error != Interrupted)
                throw Failure(error);
        }
    }

    /// <summary>Makes each write go to the end of the file, wherever that is at the time of the write.</summary>
    /// <exception cref="IOException">The file has no such mode.</exception>
    [SupportedOSPlatform("linux")] // macOS passes the arguments of a variadic function in another way.
    public static void SetAppend(SafeFileHandle file)
    {
        if (fcntl(file, SetFlags, Append) < 0)
            throw Failure(Marshal.GetLastPInvokeError());
    }

    private static IOException Failure(int error) => new(Marshal.GetPInvokeErrorMessage(error), error);

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint write(SafeFileHandle file, ReadOnlySpan<byte> bytes, nuint count);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int fcntl(SafeFileHandle file, int command, int flags);
}
