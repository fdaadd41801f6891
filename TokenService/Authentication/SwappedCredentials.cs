using System.Buffers;

namespace TokenService.Authentication;

/// <summary>
/// Tells whether a caller has probably sent its secret as client_id. The event log would then have the secret in clear,
/// so it leaves such an id out, unless a client has it.
/// </summary>
internal static class SwappedCredentials
{
    /// <summary>What the event says instead of the id.</summary>
    public const string Detail = "the id and the secret look swapped, so the id is not shown";

    private const int MinLength = 16;

    private static readonly SearchValues<char> Separators = SearchValues.Create("._-");

    /// <summary>
    /// True when the id equals the secret, or looks as if it was drawn at random: at least 16 characters, with letters in
    /// both cases and digits, or with letters and digits and nothing between them. A UUID is no such id.
    /// </summary>
    public static bool LookSwapped(ClientCredentials credentials)
    {
        var id = credentials.ClientId;
        if (credentials is ClientCredentials.WithSecret { Secret.Value: var secret } && secret == id)
            return true;
        return id.Length >= MinLength
            && id.Any(char.IsAsciiDigit)
            && id.Any(char.IsAsciiLetter)
            && ((id.Any(char.IsAsciiLetterLower) && id.Any(char.IsAsciiLetterUpper)) || !id.AsSpan().ContainsAny(Separators));
    }
}
