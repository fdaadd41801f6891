using System.Buffers;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace TokenService.Jose;

/// <summary>Writes JSON into memory of the thread's own, so that a request need not make a writer and a buffer each time.</summary>
internal static class Utf8Json
{
    // What is longer is rare, a list; its memory goes when the thread writes the next.
    private const int MaxKept = 16 * 1024;

    // Nothing of this is ever shown as HTML, so a '+' may stay a '+', as in "at+jwt".
    private static readonly JsonWriterOptions Options = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    [ThreadStatic]
    private static ArrayBufferWriter<byte>? buffer;

    [ThreadStatic]
    private static Utf8JsonWriter? json;

    /// <param name="value">What is written.</param>
    /// <param name="write">Writes it.</param>
    /// <returns>The JSON. It stands until this thread writes the next, so is to be used at once and not kept.</returns>
    public static ReadOnlySpan<byte> Write<T>(T value, Action<T, Utf8JsonWriter> write)
    {
        if (buffer is null or { Capacity: > MaxKept } || json is null)
        {
            buffer = new ArrayBufferWriter<byte>(2048);
            json = new Utf8JsonWriter(buffer, Options);
        }

        buffer.ResetWrittenCount();
        json.Reset();
        write(value, json);
        json.Flush();
        return buffer.WrittenSpan;
    }
}
