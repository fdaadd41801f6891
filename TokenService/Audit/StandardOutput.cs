using Microsoft.Win32.SafeHandles;

namespace TokenService.Audit;

/// <summary>
/// Standard output. Neither of .NET's streams is fit for it: the console's own stream ignores errors, such as a pipe
/// that no process reads, and a <see cref="FileStream"/> writes a plain file at an offset of its own. Programs that
/// share a redirection, and standard error in <c>&gt;file 2&gt;&amp;1</c>, would then overwrite each other's lines.
/// </summary>
internal sealed class StandardOutput : EventOutput, IDisposable
{
    private readonly SafeFileHandle descriptor = new(1, ownsHandle: false);

    // Windows has no shared offset. A FileStream reports errors there, too.
    private FileStream? stream;

    public override void Open()
    {
        if (OperatingSystem.IsWindows())
            stream = new FileStream(descriptor, FileAccess.Write, bufferSize: 0);
    }

    protected override int WriteSome(ReadOnlySpan<byte> bytes)
    {
        if (!OperatingSystem.IsWindows())
            return SystemCalls.Write(descriptor, bytes);
        stream!.Write(bytes);
        return bytes.Length;
    }

    public void Dispose()
    {
        stream?.Dispose();
        descriptor.Dispose();
    }
}
