using System.Text;
using TokenService.Configuration;

namespace TokenService.Commands;

/// <summary>One row of a CSV file.</summary>
/// <param name="Line">The line in the file on which it begins.</param>
internal sealed record CsvRow(int Line, IReadOnlyList<string> Fields);

/// <summary>
/// Comma-separated values as in RFC 4180: a field in quotation marks may have commas, line breaks, and quotation marks
/// that are doubled. Lines may end in LF alone. Empty lines are skipped.
/// </summary>
internal static class Csv
{
    public static IEnumerable<CsvRow> Read(string text)
    {
        var reader = new Reader(text);
        while (reader.Next() is { } row)
            yield return row;
    }

    /// <summary>A field as it stands in a file.</summary>
    public static string Quoted(string field) =>
        field.AsSpan().ContainsAny("\",\r\n") ? $"\"{field.Replace("\"", "\"\"", StringComparison.Ordinal)}\"" : field;

    private sealed class Reader(string text)
    {
        private int at;
        private int line = 1;

        public CsvRow? Next()
        {
            while (at < text.Length && TrySkipLineBreak())
            {
                // An empty line.
            }

            if (at == text.Length)
                return null;
            var (begin, fields) = (line, new List<string>());
            while (true)
            {
                fields.Add(at < text.Length && text[at] == '"' ? QuotedField() : PlainField());
                if (at == text.Length || TrySkipLineBreak())
                    return new CsvRow(begin, fields);
                if (text[at] != ',')
                {
                    throw Malformed(text[at] == '\r'
                        ? "has a carriage return that does not end it"
                        : "has text after the quotation mark that ends a field");
                }

                at++;
                // A comma at the very end is followed by an empty field.
                if (at == text.Length)
                    return new CsvRow(begin, [.. fields, ""]);
            }
        }

        private string PlainField()
        {
            var length = text.AsSpan(at).IndexOfAny(",\r\n");
            var field = length < 0 ? text[at..] : text.Substring(at, length);
            if (field.Contains('"', StringComparison.Ordinal))
                throw Malformed("has a quotation mark inside a field that does not begin with one");
            at += field.Length;
            return field;
        }

        private string QuotedField()
        {
            var begin = line;
            var field = new StringBuilder();
            for (at++; at < text.Length; at++)
            {
                if (text[at] == '"')
                {
                    at++;
                    if (at == text.Length || text[at] != '"')
                        return field.ToString();
                }
                else if (text[at] == '\n')
                {
                    line++;
                }

                field.Append(text[at]);
            }

            line = begin;
            throw Malformed("has a field whose quotation mark is never closed");
        }

        private bool TrySkipLineBreak()
        {
            var length = text.AsSpan(at) switch
            {
                ['\r', '\n', ..] => 2,
                ['\n', ..] => 1,
                _ => 0,
            };
            at += length;
            line += length > 0 ? 1 : 0;
            return length > 0;
        }

        private OperatorException Malformed(string what) => new($"Line {line} of the file {what}.");
    }
}
