using System.Buffers;
using System.Diagnostics.CodeAnalysis;
using System.Security.Cryptography;

namespace TokenService.Secrets;

/// <summary>
/// A secret this server makes: <c>tsvc_</c>, 12 characters that name its row (the selector), <c>_</c>, 43 random
/// characters (256 bits) and 6 characters of CRC-32 over everything before them. All characters are base62 or
/// underscore, so form-encoding and HTTP Basic do not change it. A scanner for leaked secrets finds it by prefix and
/// checksum, and a typo is refused without hashing.
/// </summary>
/// <param name="Selector">The id of its row; not secret.</param>
/// <param name="Value">The whole secret.</param>
internal sealed record GeneratedSecret(string Selector, string Value)
{
    private const string Prefix = "tsvc_";
    private const string Alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    private static readonly SearchValues<char> AlphabetCharacters = SearchValues.Create(Alphabet);
    private static readonly uint[] Crc32Table = MakeCrc32Table();

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

    /// <summary>
    /// True for a generated secret even if it is damaged, so that it is not taken for an imported one.
    /// </summary>
    public static bool HasPrefix(string secret) => secret.StartsWith(Prefix, StringComparison.Ordinal);

    public static bool TryParse(string secret, [NotNullWhen(true)] out GeneratedSecret? parsed)
    {
        parsed = TryReadSelector(secret, out var selector) ? new GeneratedSecret(selector, secret) : null;
        return parsed is not null;
    }

    /// <summary>
    /// Reads the id of the row that the secret names. False: it is not a generated secret, or is damaged.
    /// </summary>
    public static bool TryReadSelector(string secret, [NotNullWhen(true)] out string? selector)
    {
        selector = null;
        if (secret.Length != Length || !HasPrefix(secret) || secret[SelectorEnd] != '_')
            return false;
        if (secret.AsSpan(Prefix.Length, SelectorLength).ContainsAnyExcept(AlphabetCharacters)
            || secret.AsSpan(SelectorEnd + 1).ContainsAnyExcept(AlphabetCharacters))
            return false;

        // The checksum only finds typos. It is not secret, so the comparison need not take constant time.
        Span<char> checksum = stackalloc char[ChecksumLength];
        WriteChecksum(secret.AsSpan(0, ChecksumStart), checksum);
        if (!secret.AsSpan(ChecksumStart).SequenceEqual(checksum))
            return false;

        selector = secret[Prefix.Length..SelectorEnd];
        return true;
    }

    // A record's own ToString would print the secret into any log that is handed one of these.
    public override string ToString() => $"{Prefix}{Selector}_…";

    private static string Checksum(string body) =>
        string.Create(ChecksumLength, body, static (digits, body) => WriteChecksum(body, digits));

    private static void WriteChecksum(ReadOnlySpan<char> body, Span<char> digits)
    {
        var crc = Crc32(body);
        for (var i = digits.Length - 1; i >= 0; i--, crc /= 62)
            digits[i] = Alphabet[(int)(crc % 62)];
    }

    // CRC-32 as in ISO 3309, zip and PNG; the framework ships only CRC-32C.
    private static uint Crc32(ReadOnlySpan<char> ascii)
    {
        var crc = ~0u;
        foreach (var c in ascii)
            crc = Crc32Table[(byte)(crc ^ c)] ^ (crc >> 8);
        return ~crc;
    }

    private static uint[] MakeCrc32Table()
    {
        var table = new uint[256];
        for (var i = 0u; i < table.Length; i++)
        {
            table[i] = i;
            for (var bit = 0; bit < 8; bit++)
                table[i] = (table[i] & 1) == 0 ? table[i] >> 1 : (table[i] >> 1) ^ 0xEDB88320;
        }

        return table;
    }
}
