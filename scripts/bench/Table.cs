using System.Globalization;
using System.Text.Json;

namespace TokenService.Bench;

/// <param name="Section">The heading under which the row is printed.</param>
/// <param name="What">The name of the figure.</param>
/// <param name="Value">The figure.</param>
/// <param name="Unit">The unit of the figure and the target.</param>
/// <param name="Target">The aim; null: there is none.</param>
/// <param name="IsMaximum">Whether the target is an upper bound; otherwise it is a lower bound.</param>
/// <param name="Note">Further figures, printed behind the verdict.</param>
/// <param name="Spread">The quartiles of the rounds whose median is the figure; null: there was one round.</param>
internal sealed record Row(
    string Section, string What, double Value, string Unit, double? Target = null, bool IsMaximum = true,
    string? Note = null, Quartiles? Spread = null)
{
    public bool? IsMet => Target is not { } target ? null : IsMaximum ? Value <= target : Value >= target;

    /// <summary>The target, and whether the figure meets it or by how much it misses.</summary>
    public string Verdict => Target is not { } target ? ""
        : $"{(IsMaximum ? "<=" : ">=")} {Number(target)} "
            + (IsMet == true ? "met" : $"MISSED by {Math.Abs(Value - target) / target:P0}");

    public static string Number(double value) => value switch
    {
        0 => "0",
        >= 1000 => value.ToString("N0", CultureInfo.InvariantCulture),
        >= 100 => value.ToString("F0", CultureInfo.InvariantCulture),
        >= 10 => value.ToString("F1", CultureInfo.InvariantCulture),
        _ => value.ToString("F2", CultureInfo.InvariantCulture),
    };
}

/// <summary>The middle half of the rounds.</summary>
/// <param name="Low">A quarter of the rounds is below.</param>
/// <param name="High">A quarter of the rounds is above.</param>
internal sealed record Quartiles(double Low, double High)
{
    public override string ToString() => $"[{Row.Number(Low)} to {Row.Number(High)}]";
}

/// <summary>The figures of one run.</summary>
internal sealed class Table
{
    private static readonly JsonSerializerOptions Indented = new(JsonSerializerDefaults.Web)
    {
        WriteIndented = true,
        NumberHandling = System.Text.Json.Serialization.JsonNumberHandling.AllowNamedFloatingPointLiterals,
    };

    private readonly List<Row> rows = [];

    /// <summary>The machine, its load, and the settings of the measurement.</summary>
    public List<string> Circumstances { get; } = [];

    public void Add(Row row)
    {
        rows.Add(row);
        var figure = $"{Row.Number(row.Value)} {row.Unit} {row.Spread} {row.Verdict} {row.Note}";
        Console.Error.WriteLine($"  {row.Section}: {row.What}: {figure}".TrimEnd());
    }

    public void Print(TextWriter output)
    {
        foreach (var line in Circumstances)
            output.WriteLine(line);
        foreach (var section in rows.GroupBy(row => row.Section))
        {
            output.WriteLine();
            output.WriteLine(section.Key);
            foreach (var row in section)
            {
                var figure = $"{Row.Number(row.Value),9} {row.Unit,-6} {row.Spread,-16} {row.Verdict,-22} {row.Note}";
                output.WriteLine($"  {row.What,-58} {figure}".TrimEnd());
            }
        }
    }

    public string Json() => JsonSerializer.Serialize(new { Circumstances, Figures = rows }, Indented);
}
