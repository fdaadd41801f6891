using System.Globalization;

namespace TokenService.Commands;

/// <summary>Text from a file, for a terminal.</summary>
internal static class Terminal
{
    /// <summary>
    /// The text with a question mark for each character that could move the cursor, change the terminal's state, or change
    /// the order in which text is shown.
    /// </summary>
    public static string Shown(string text) => text.Any(IsUnsafe)
        ? string.Concat(text.Select(character => IsUnsafe(character) ? '?' : character))
        : text;

    private static bool IsUnsafe(char character) => char.GetUnicodeCategory(character) is
        UnicodeCategory.Control or UnicodeCategory.Format or UnicodeCategory.LineSeparator or UnicodeCategory.ParagraphSeparator;
}
