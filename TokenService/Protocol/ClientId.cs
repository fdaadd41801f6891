using System.Buffers;

namespace TokenService.Protocol;

/// <summary>
/// The two grammars of a client_id, which RFC 6749 §2.2 leaves to the server. Any client may have a simple one. One that
/// was brought from another server may be longer and have nearly every printable character, since it stands in that
/// client's configuration. The SQL functions <c>is_client_id</c> and <c>is_simple_client_id</c> say the same to the
/// database, which also refuses an id that looks like a generated secret.
/// </summary>
internal static class ClientId
{
    public const int MaxLength = 255;

    private const int MaxSimpleLength = 128;

    private const string LettersAndDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

    private static readonly SearchValues<char> SimpleCharacters = SearchValues.Create(LettersAndDigits + "._-");

    // All printable characters but " ' ` \ and *. The last stands for every client in the list of revoked tokens. JSON
    // escapes none of the others.
    private static readonly SearchValues<char> Characters = SearchValues.Create(LettersAndDigits + "._-!#$%&()+,/:;<=>?@[]^{|}~");

    // Those of URLs, e-mail addresses, and names of realms and namespaces.
    private static readonly SearchValues<char> UsualCharacters = SearchValues.Create(LettersAndDigits + "._-:/@{}~");

    /// <summary>True for an id that a client can have: 1 to 255 printable ASCII characters, with few exceptions.</summary>
    public static bool IsWellFormed(string id) => id.Length is > 0 and <= MaxLength && !id.AsSpan().ContainsAnyExcept(Characters);

    /// <summary>
    /// True for 1 to 128 letters, digits, <c>.</c>, <c>_</c> and <c>-</c>, beginning with a letter or digit. Form-encoding
    /// leaves it as it is.
    /// </summary>
    public static bool IsSimple(string id) =>
        id.Length is > 0 and <= MaxSimpleLength && char.IsAsciiLetterOrDigit(id[0]) && !id.AsSpan().ContainsAnyExcept(SimpleCharacters);

    /// <summary>True for an id with no other characters than ids of known systems have.</summary>
    public static bool IsUsual(string id) => IsWellFormed(id) && !id.AsSpan().ContainsAnyExcept(UsualCharacters);
}
