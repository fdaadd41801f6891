using Microsoft.Extensions.Options;
using TokenService.Configuration;

namespace TokenService.Audit;

/// <summary>The destination of the event log: a file, or standard output.</summary>
internal abstract class EventOutput
{
    // The last line at the destination is incomplete, because a write failed in the middle of it.
    private bool isTorn;

    public static EventOutput Of(IOptions<EventLogOptions> options, ILogger<EventOutput> logger) =>
        options.Value.File.Length == 0 ? new StandardOutput() : new EventFile(options.Value.File, logger);

    /// <exception cref="OperatorException">The destination cannot be written to.</exception>
    public abstract void Open();

    /// <summary>
    /// Writes lines. If the write before failed in the middle of a line, that line is ended first, so that the next one
    /// begins on a line of its own.
    /// </summary>
    /// <param name="lines">Whole lines.</param>
    /// <param name="failure">Why some or all of the lines were not written; null: all of them were.</param>
    /// <returns>How many bytes of whole lines were written. The caller writes the rest again.</returns>
    public int Write(ReadOnlySpan<byte> lines, out Exception? failure)
    {
        var written = 0;
        failure = null;
        try
        {
            if (Reopen())
                isTorn = false;
            if (isTorn)
                WriteSome("\n"u8);
            isTorn = false;
            while (written < lines.Length)
                written += WriteSome(lines[written..]);
        }
        // Any failure ends here, such as a full disk or a closed pipe. The event log decides what that means for
        // requests.
        catch (Exception e)
        {
            failure = e;
        }

        var whole = lines[..written].LastIndexOf((byte)'\n') + 1;
        isTorn |= whole < written;
        return whole;
    }

    /// <summary>Opens the destination again if it is no longer the one that was opened.</summary>
    /// <returns>True: what follows is written to another destination.</returns>
    protected virtual bool Reopen() => false;

    /// <summary>Writes as much as the destination takes at once.</summary>
    /// <returns>How many bytes were written, at least one.</returns>
    /// <exception cref="IOException">The write failed, and no byte was written.</exception>
    protected abstract int WriteSome(ReadOnlySpan<byte> bytes);
}
