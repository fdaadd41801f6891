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
    /// The event of a request. Waits for it, because events are written after the answer.
    /// </summary>
    /// <param name="eventId">The <see cref="Answer.EventId"/> of its answer.</param>
    public async Task<JsonElement> OfAsync(string eventId)
    {
        var line = "";
        await Soon.IsAsync(
            $"there is an event of {eventId}",
            () =>
            {
                line = lines.SingleOrDefault(line => line.Contains(eventId, StringComparison.Ordinal) && IdOf(line) == eventId) ?? "";
                return line != "";
            });
        return JsonElement.Parse(line);
    }

    /// <summary>The <see cref="Answer.EventId"/> of the answer whose event this line is.</summary>
    public static string IdOf(string line)
    {
        var members = JsonElement.Parse(line);
        // The event of a token has its kid. It is no grant if a write of events failed just before the token was to be sent.
        var isGrant = members.TryGetProperty("kid", out _) && members.GetProperty("outcome").ValueEquals("granted");
        return members.GetProperty(isGrant ? "jti" : "request_id").GetString()!;
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
