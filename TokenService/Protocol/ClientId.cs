using System.Buffers;

namespace TokenService.Protocol;

/// <summary>
/// The grammar of a client_id (RFC 6749 §2.2 leaves it to the server): 1 to 128 letters, digits, <c>.</c>, <c>_</c> and
/// <c>-</c>, beginning with a letter or digit. The constraint <c>client_id_grammar</c> says the same to the database.
/// </summary>
internal static class ClientId
{
    public const int MaxLength = 128;

    private static readonly SearchValues<char> Characters =
        SearchValues.Create("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-");

    public static bool IsWellFormed(string id) =>
        id.Length is > 0 and <= MaxLength && char.IsAsciiLetterOrDigit(id[0]) && !id.AsSpan().ContainsAnyExcept(Characters);
}
