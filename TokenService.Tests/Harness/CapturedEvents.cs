using System.Collections.Concurrent;
using System.Text;
using System.Text.Json;
using TokenService.Audit;

namespace TokenService.Tests.Harness;

/// <summary>Keeps the lines of a server's event log, in the place of standard output.</summary>
internal sealed class CapturedEvents : EventOutput
{
    private readonly ConcurrentQueue<string> lines = new();

    /// <summary>The lines written so far.</summary>
    public IReadOnlyCollection<string> Lines => lines;

    /// <summary>
    /// The event of a request, by the <c>Request-Id</c> of its answer. Waits for the event, because events are written
    /// after the answer.
    /// </summary>
    public async Task<JsonElement> OfAsync(string requestId)
    {
        var line = "";
        await Soon.IsAsync(
            $"there is an event of request {requestId}",
            () =>
            {
                line = lines.SingleOrDefault(
                    line => line.Contains($"\"request_id\":\"{requestId}\"", StringComparison.Ordinal)) ?? "";
                return line != "";
            });
        return JsonElement.Parse(line);
    }

    public override void Open()
    {
    }

    protected override int WriteSome(ReadOnlySpan<byte> bytes)
    {
        foreach (var line in Encoding.UTF8.GetString(bytes).Split('\n', StringSplitOptions.RemoveEmptyEntries))
            lines.Enqueue(line);
        return bytes.Length;
    }
}
