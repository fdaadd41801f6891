using System.Buffers.Text;
using System.Security.Cryptography;

namespace TokenService.Jose;

/// <summary>
/// Random ids. Their bits are drawn for many at a time: to ask the system's generator takes over a microsecond, however little is wanted.
/// </summary>
internal static class JwtIds
{
    private const int StockLength = 1024;

    [ThreadStatic]
    private static byte[]? stock;

    [ThreadStatic]
    private static int left;

    /// <param name="length">In bytes, of which an id has four characters for three.</param>
    public static string Next(int length)
    {
        stock ??= new byte[StockLength];
        if (left < length)
        {
            RandomNumberGenerator.Fill(stock);
            left = stock.Length;
        }

        left -= length;
        return Base64Url.EncodeToString(stock.AsSpan(left, length));
    }
}
