using TokenService.Configuration;

namespace TokenService.Audit;

/// <summary>
/// A file that events are appended to. It is opened once and kept open, so that a process without a free file
/// descriptor still writes its events. A log rotation may move, remove or empty the file at any time, and several
/// processes may append to it.
/// </summary>
internal sealed partial class EventFile(string path, ILogger logger) : EventOutput, IDisposable
{
    private FileStream? file;

    // The open file was moved or removed, and none can be opened at the path.
    private bool isLeftBehind;

    public override void Open()
    {
        try
        {
            file = OpenToAppend();
        }
        catch (Exception e) when (e
            is IOException or UnauthorizedAccessException or NotSupportedException or ArgumentException)
        {
            throw new OperatorException($"Events:File cannot be appended to: {e.Message}", e);
        }
    }

    protected override bool Reopen()
    {
        try
        {
            if (IsStillAtItsPath())
                return false;
            var next = OpenToAppend();
            file!.Dispose();
            file = next;
            isLeftBehind = false;
            return true;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            if (!isLeftBehind)
                Log.LeftBehind(logger, path, e.Message);
            isLeftBehind = true;
            return false;
        }
    }

    protected override int WriteSome(ReadOnlySpan<byte> bytes)
    {
        if (OperatingSystem.IsLinux())
            return SystemCalls.Write(file!.SafeFileHandle, bytes);
        file!.Seek(0, SeekOrigin.End);
        file.Write(bytes);
        return bytes.Length;
    }

    public void Dispose() => file?.Dispose();

    // Compares lengths, because that needs no file descriptor. Two files of the same length are told apart after the
    // next batch. The length of a symbolic link is not that of its target. A pipe or a terminal is not rotated, and to
    // open a pipe again could wait for a reader.
    private bool IsStillAtItsPath()
    {
        if (!file!.CanSeek)
            return true;

        var there = new FileInfo(path);
        if (there.Exists && there.LinkTarget is not null)
            there = there.ResolveLinkTarget(returnFinalTarget: true) as FileInfo;
        return there is { Exists: true } && there.Length == RandomAccess.GetLength(file.SafeFileHandle);
    }

    private FileStream OpenToAppend()
    {
        // FileMode.Append would only go to the end once, and another process may append meanwhile.
        var options = new FileStreamOptions
        {
            Mode = FileMode.OpenOrCreate,
            Access = FileAccess.Write,
            Share = FileShare.ReadWrite | FileShare.Delete,
            BufferSize = 0,
        };
        // Events name clients, their addresses and the ids of their secrets.
        if (!OperatingSystem.IsWindows())
            options.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;

        var opened = new FileStream(path, options);
        if (OperatingSystem.IsLinux())
            SystemCalls.SetAppend(opened.SafeFileHandle);
        return opened;
    }

    private static partial class Log
    {
        [LoggerMessage(1, LogLevel.Warning,
            "{Path} was moved or removed, and cannot be opened again: {Cause}. Events of requests still go to the file that "
            + "was there before, and are lost with it if it was removed. Make sure that the directory exists, that the server "
            + "may write to it, and that the process has a free file descriptor")]
        public static partial void LeftBehind(ILogger logger, string path, string cause);
    }
}
