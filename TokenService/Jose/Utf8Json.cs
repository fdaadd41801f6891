using System.Buffers;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace TokenService.Jose;

/// <summary>
/// Writes JSON with a writer and a buffer that each thread keeps, so that a request allocates neither.
/// </summary>
internal static class Utf8Json
{
    // Bytes of a buffer that a thread keeps. Only the list of revoked tokens is longer; the thread drops that buffer
    // when it writes its next JSON.
    private const int MaxKeptCapacity = 16 * 1024;

    // No browser shows this JSON as HTML, so a '+' need not be escaped, as in "at+jwt".
    private static readonly JsonWriterOptions Options = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    [ThreadStatic]
    private static ArrayBufferWriter<byte>? buffer;

    [ThreadStatic]
    private static Utf8JsonWriter? json;

    /// <returns>
    /// The JSON. This thread's next call overwrites it, so the caller uses it at once and does not keep it.
    /// </returns>
    public static ReadOnlySpan<byte> Write<T>(T value, Action<T, Utf8JsonWriter> write)
    {
        if (buffer is null or { Capacity: > MaxKeptCapacity } || json is null)
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
