using System.Globalization;
using System.Text;

namespace TokenService.Bench;

/// <summary>One bar: what a token costs, in microseconds of processor time.</summary>
/// <param name="Name">Beside the bar.</param>
/// <param name="Microseconds">Its length.</param>
/// <param name="Spread">The quartiles of the rounds, drawn as a line; null: there are none.</param>
internal sealed record Bar(string Name, double Microseconds, Quartiles? Spread = null);

/// <summary>The processor time of a token, of each build beside the parts that no server can do without.</summary>
/// <param name="title">The heading.</param>
/// <param name="http">The part of the empty API.</param>
/// <param name="signature">The part of the signature alone.</param>
/// <param name="bars">The builds.</param>
internal sealed class Chart(string title, double http, double signature, IReadOnlyList<Bar> bars)
{
    private const int Width = 760;
    private const int Left = 110;
    private const int Top = 78;
    private const int Step = 46;
    private const int BarHeight = 26;

    private static readonly (string Name, string Color)[] Parts =
        [("HTTP: the empty minimal API", "#4a6fa5"), ("the signature alone", "#b8860b"), ("everything else", "#2e7d5b")];

    public string Svg()
    {
        Bar[] all = [new("ceiling", http + signature), .. bars];
        var height = Top + (all.Length * Step) + 30;
        var scale = (Width - Left - 150) / all.Max(bar => Math.Max(bar.Microseconds, bar.Spread?.High ?? 0));
        var svg = new StringBuilder();
        Add($"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {Width} {height}" font-family="sans-serif" font-size="14">""");
        Add($"""<rect width="{Width}" height="{height}" fill="#ffffff"/>""");
        Add($"""<text x="12" y="26" font-size="16" font-weight="bold">{title}</text>""");
        for (var (i, x) = (0, 12); i < Parts.Length; x += 40 + (8 * Parts[i].Name.Length), i++)
        {
            Add($"""<rect x="{x}" y="42" width="14" height="14" fill="{Parts[i].Color}"/>""");
            Add($"""<text x="{x + 20}" y="54">{Parts[i].Name}</text>""");
        }

        for (var i = 0; i < all.Length; i++)
            AddBar(all[i], Top + (i * Step));
        const string legend = "Medians. The line below a bar is the middle half of the rounds.";
        Add($"""<text x="12" y="{height - 10}" font-size="12" fill="#555555">{legend}</text>""");
        Add($"</svg>");
        return svg.ToString();

        void AddBar(Bar bar, int y)
        {
            Add($"""<text x="{Left - 10}" y="{y + 18}" text-anchor="end">{bar.Name}</text>""");
            var from = 0.0;
            foreach (var (part, length) in new[] { http, signature, bar.Microseconds - http - signature }.Index())
            {
                if (length <= 0)
                    continue;
                var (x, width, color) = (Left + (from * scale), length * scale, Parts[part].Color);
                Add($"""<rect x="{x:F1}" y="{y}" width="{width:F1}" height="{BarHeight}" fill="{color}"/>""");
                Add($"""<text x="{x + (width / 2):F1}" y="{y + 18}" text-anchor="middle" fill="#ffffff">{length:F1}</text>""");
                from += length;
            }

            var end = Left + (Math.Max(bar.Microseconds, bar.Spread?.High ?? 0) * scale);
            if (bar.Spread is { } spread)
            {
                var (low, high, middle) = (Left + (spread.Low * scale), Left + (spread.High * scale), y + BarHeight + 5);
                Add($"""<path d="M{low:F1} {middle - 3} v6 m0 -3 H{high:F1} m0 -3 v6" stroke="#333333" fill="none"/>""");
            }

            var share = 100 * (http + signature) / bar.Microseconds;
            Add($"""<text x="{end + 10:F1}" y="{y + 18}">{bar.Microseconds:F1} µs ({share:F0} %)</text>""");
        }

        void Add(FormattableString line) => svg.Append(line.ToString(CultureInfo.InvariantCulture)).Append('\n');
    }
}
