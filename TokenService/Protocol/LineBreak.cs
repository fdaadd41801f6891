namespace TokenService.Protocol;

/// <summary>A line break at the end of a value, which echo, editors and files put there unnoticed.</summary>
internal static class LineBreak
{
    public static bool Ends(string value) => value is [.., '\n' or '\r'];
}
