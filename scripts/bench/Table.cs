using System.Globalization;
using System.Text.Json;

namespace TokenService.Bench;

/// <param name="Section">What it belongs to.</param>
/// <param name="What">What was measured.</param>
/// <param name="Value">The figure.</param>
/// <param name="Unit">Of the figure.</param>
/// <param name="Target">What it should be, as a bound.</param>
/// <param name="IsMost">Whether the target is the most it may be, rather than the least.</param>
/// <param name="Note">What else there is to say.</param>
internal sealed record Row(
    string Section, string What, double Value, string Unit, double? Target = null, bool IsMost = true, string? Note = null)
{
    public bool? IsMet => Target is not { } target ? null : IsMost ? Value <= target : Value >= target;

    /// <summary>The bound, and by how much of it the figure misses.</summary>
    public string Verdict => Target is not { } target ? ""
        : $"{(IsMost ? "<=" : ">=")} {Number(target)} " + (IsMet == true ? "met" : $"MISSED by {Math.Abs(Value - target) / target:P0}");

    public static string Number(double value) => value switch
    {
        0 => "0",
        >= 1000 => value.ToString("N0", CultureInfo.InvariantCulture),
        >= 100 => value.ToString("F0", CultureInfo.InvariantCulture),
        >= 10 => value.ToString("F1", CultureInfo.InvariantCulture),
        _ => value.ToString("F2", CultureInfo.InvariantCulture),
    };
}

/// <summary>All that one run measured.</summary>
internal sealed class Table
{
    private static readonly JsonSerializerOptions Indented = new(JsonSerializerDefaults.Web)
    {
        WriteIndented = true,
        NumberHandling = System.Text.Json.Serialization.JsonNumberHandling.AllowNamedFloatingPointLiterals,
    };

    private readonly List<Row> rows = [];

    /// <summary>Where it was measured, and how.</summary>
    public List<string> Circumstances { get; } = [];

    public void Add(Row row)
    {
        rows.Add(row);
        Console.Error.WriteLine($"  {row.Section}: {row.What}: {Row.Number(row.Value)} {row.Unit} {row.Verdict} {row.Note}".TrimEnd());
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
                output.WriteLine($"  {row.What,-58} {Row.Number(row.Value),9} {row.Unit,-10} {row.Verdict,-22} {row.Note}".TrimEnd());
        }
    }

    public string Json() => JsonSerializer.Serialize(new { Circumstances, Figures = rows }, Indented);
}
