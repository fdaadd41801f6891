using System.Buffers.Text;
using System.Security.Cryptography;

namespace TokenService.Jose;

/// <summary>
/// Random ids. Each thread asks the system's random generator for many ids at a time, because one call takes over a
/// microsecond however few bytes it returns.
/// </summary>
internal static class JwtIds
{
    private const int BufferLength = 1024;

    [ThreadStatic]
    private static byte[]? buffer;

    [ThreadStatic]
    private static int unused; // bytes at the front of the buffer

    /// <param name="length">Random bytes in the id. It has four characters for every three bytes.</param>
    public static string Next(int length)
    {
        buffer ??= new byte[BufferLength];
        if (unused < length)
        {
            RandomNumberGenerator.Fill(buffer);
            unused = buffer.Length;
        }

        unused -= length;
        return Base64Url.EncodeToString(buffer.AsSpan(unused, length));
    }
}
