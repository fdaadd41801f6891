using Microsoft.Extensions.Options;
using Microsoft.Win32.SafeHandles;
using TokenService.Configuration;

namespace TokenService.Audit;

/// <summary>The destination of the event log: a file, or standard output.</summary>
internal abstract class EventOutput
{
    public static EventOutput Of(IOptions<EventLogOptions> options) =>
        options.Value.File.Length == 0 ? new StandardOutput() : new AppendedFile(options.Value.File);

    /// <exception cref="OperatorException">The file cannot be opened to append.</exception>
    public abstract void Check();

    /// <param name="lines">Whole lines.</param>
    /// <exception cref="IOException">Some or all of the lines were not written.</exception>
    public abstract void Write(ReadOnlySpan<byte> lines);

    private sealed class StandardOutput : EventOutput, IDisposable
    {
        // Opened as a file, because the console's own stream ignores errors, such as a pipe that no process reads.
        private readonly FileStream stream = new(new SafeFileHandle(1, ownsHandle: false), FileAccess.Write, bufferSize: 0);

        public override void Check()
        {
        }

        public override void Write(ReadOnlySpan<byte> lines) => stream.Write(lines);

        public void Dispose() => stream.Dispose();
    }

    // Opened again for each batch, so that a log rotation may move or truncate the file at any time.
    private sealed class AppendedFile(string path) : EventOutput
    {
        public override void Check()
        {
            try
            {
                using var _ = Open();
            }
            catch (Exception e) when (e
                is IOException or UnauthorizedAccessException or NotSupportedException or ArgumentException)
            {
                throw new OperatorException($"Events:File cannot be appended to: {e.Message}", e);
            }
        }

        public override void Write(ReadOnlySpan<byte> lines)
        {
            using var file = Open();
            file.Write(lines);
        }

        private FileStream Open() =>
            new(path, FileMode.Append, FileAccess.Write, FileShare.ReadWrite | FileShare.Delete, bufferSize: 0);
    }
}
