using System.Buffers;
using System.Text.RegularExpressions;
using TokenService.Protocol;

namespace TokenService.Authentication;

/// <summary>
/// Tells whether a caller has probably sent its secret as client_id. The event log would then have the secret in clear,
/// so it leaves such an id out, unless a client has it.
/// </summary>
internal static partial class SwappedCredentials
{
    /// <summary>The event has this detail instead of the id.</summary>
    public const string Detail = "the id and the secret look swapped, so the id is not shown";

    private const int MinLength = 16;

    private static readonly char[] AddressSeparators = [':', '/', '@', '.'];

    private static readonly SearchValues<char> Separators = SearchValues.Create("._-:/@{}~");

    /// <summary>
    /// True when the id equals the secret, is neither simple nor an address, has a part that looks as if it was drawn at
    /// random, or may be a password while the secret looks like an id.
    /// </summary>
    public static bool LookSwapped(ClientCredentials credentials)
    {
        var id = credentials.ClientId;
        if (ClientId.IsSimple(id) ? IsRandom(id) : !IsAddress(id) || id.Split(AddressSeparators).Any(IsRandom))
            return true;
        return credentials is ClientCredentials.WithSecret { Secret.Value: var secret }
            && (secret == id || (MayBePassword(id) && LooksLikeId(secret)));
    }

    // A URL without user information, such as https://jobs.example.com/nightly or api://billing, a URN, an e-mail address, or a
    // path of names such as system:serviceaccount:payments:api. A password may have any other form that ids have elsewhere.
    private static bool IsAddress(string id) => Address().IsMatch(id);

    // A short name, such as "billing", is more probably the id.
    private static bool MayBePassword(string id) => id.Length >= MinLength || !ClientId.IsSimple(id);

    private static bool LooksLikeId(string secret) => ClientId.IsUsual(secret) && !IsRandom(secret);

    // At least 16 characters, with letters in both cases and digits, or with letters and digits and nothing between them.
    // A UUID is not taken for random.
    private static bool IsRandom(string text) =>
        text.Length >= MinLength
        && text.Any(char.IsAsciiDigit)
        && text.Any(char.IsAsciiLetter)
        && ((text.Any(char.IsAsciiLetterLower) && text.Any(char.IsAsciiLetterUpper)) || !text.AsSpan().ContainsAny(Separators));

    [GeneratedRegex(
        @"\A([a-z][a-z0-9+.-]*://[A-Za-z0-9._:/{}~-]+|[a-z]+(:[a-z0-9._-]+){2,}|[A-Za-z0-9._-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+)\z",
        RegexOptions.CultureInvariant)]
    private static partial Regex Address();
}
