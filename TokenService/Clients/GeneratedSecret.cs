using System.Diagnostics.CodeAnalysis;
using System.Security.Cryptography;
using System.Text;

namespace TokenService.Clients;

/// <summary>
/// A secret this server makes: <c>tsvc_</c>, 12 characters that name its row, <c>_</c>, 43 random characters (256 bits) and
/// 6 characters of CRC-32 over all before them. Everything is base62 or underscore, so form-encoding and HTTP Basic leave it
/// as it is; a scanner finds it by prefix and checksum; a typo is refused without hashing.
/// </summary>
/// <param name="Selector">The id of its row; not secret.</param>
/// <param name="Value">The whole of it; secret.</param>
internal sealed record GeneratedSecret(string Selector, string Value)
{
    private const string Prefix = "tsvc_";
    private const string Alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    private const int SelectorLength = 12;
    private const int RandomLength = 43; // 62^43 > 2^256
    private const int ChecksumLength = 6; // 62^6 > 2^32
    private const int SelectorEnd = 5 + SelectorLength;
    private const int ChecksumStart = SelectorEnd + 1 + RandomLength;
    private const int Length = ChecksumStart + ChecksumLength;

    public static GeneratedSecret Create()
    {
        var selector = NewSelector();
        var body = $"{Prefix}{selector}_{RandomNumberGenerator.GetString(Alphabet, RandomLength)}";
        return new GeneratedSecret(selector, body + Checksum(body));
    }

    public static string NewSelector() => RandomNumberGenerator.GetString(Alphabet, SelectorLength);

    /// <summary>True for anything that was once one of ours, so that a damaged one is told from a secret of another system.</summary>
    public static bool HasPrefix(string secret) => secret.StartsWith(Prefix, StringComparison.Ordinal);

    public static bool TryParse(string secret, [NotNullWhen(true)] out GeneratedSecret? parsed)
    {
        parsed = null;
        if (secret.Length != Length || !HasPrefix(secret) || secret[SelectorEnd] != '_')
            return false;

        var selector = secret[Prefix.Length..SelectorEnd];
        if (!selector.All(char.IsAsciiLetterOrDigit) || !secret[(SelectorEnd + 1)..].All(char.IsAsciiLetterOrDigit))
            return false;

        // The checksum tells typos apart, it keeps no one out: nothing secret hangs on how long this takes.
        if (!secret.AsSpan(ChecksumStart).SequenceEqual(Checksum(secret[..ChecksumStart])))
            return false;

        parsed = new GeneratedSecret(selector, secret);
        return true;
    }

    // A record's own ToString would print the secret into any log that is handed one of these.
    public override string ToString() => $"{Prefix}{Selector}_…";

    private static string Checksum(string body) =>
        string.Create(ChecksumLength, Crc32(Encoding.ASCII.GetBytes(body)), static (digits, crc) =>
        {
            for (var i = digits.Length - 1; i >= 0; i--, crc /= 62)
                digits[i] = Alphabet[(int)(crc % 62)];
        });

    // CRC-32 as in ISO 3309, zip and PNG; the framework ships only CRC-32C.
    private static uint Crc32(ReadOnlySpan<byte> bytes)
    {
        var crc = ~0u;
        foreach (var b in bytes)
        {
            crc ^= b;
            for (var bit = 0; bit < 8; bit++)
                crc = (crc & 1) == 0 ? crc >> 1 : (crc >> 1) ^ 0xEDB88320;
        }

        return ~crc;
    }
}
