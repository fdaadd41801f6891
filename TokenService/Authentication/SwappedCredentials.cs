using System.Buffers;
using TokenService.Protocol;

namespace TokenService.Authentication;

/// <summary>
/// Tells whether a caller has probably sent its secret as client_id. The event log would then have the secret in clear,
/// so it leaves such an id out, unless a client has it.
/// </summary>
internal static class SwappedCredentials
{
    /// <summary>The event has this detail instead of the id.</summary>
    public const string Detail = "the id and the secret look swapped, so the id is not shown";

    private const int MinLength = 16;

    private static readonly SearchValues<char> Separators = SearchValues.Create("._-:/@{}~");

    /// <summary>
    /// True when the id equals the secret, looks as if it was drawn at random, has characters that passwords have and ids
    /// have not, or may be a password while the secret looks like an id.
    /// </summary>
    public static bool LookSwapped(ClientCredentials credentials)
    {
        var id = credentials.ClientId;
        if (IsRandom(id) || !ClientId.IsUsual(id))
            return true;
        return credentials is ClientCredentials.WithSecret { Secret.Value: var secret }
            && (secret == id || (MayBePassword(id) && LooksLikeId(secret)));
    }

    // A short name, such as "billing", is more probably the id.
    private static bool MayBePassword(string id) => id.Length >= MinLength || !ClientId.IsSimple(id);

    private static bool LooksLikeId(string secret) => ClientId.IsUsual(secret) && !IsRandom(secret);

    // At least 16 characters, with letters in both cases and digits, or with letters and digits and nothing between them.
    // A UUID and a URL are not taken for random.
    private static bool IsRandom(string text) =>
        text.Length >= MinLength
        && !text.Contains("://", StringComparison.Ordinal)
        && text.Any(char.IsAsciiDigit)
        && text.Any(char.IsAsciiLetter)
        && ((text.Any(char.IsAsciiLetterLower) && text.Any(char.IsAsciiLetterUpper)) || !text.AsSpan().ContainsAny(Separators));
}
