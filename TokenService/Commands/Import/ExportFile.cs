using System.Text;
using System.Text.Json;
using TokenService.Configuration;

namespace TokenService.Commands;

/// <summary>
/// Reads files of other systems. A file that is too long, or not what it should be, is refused with a message that names
/// the place, and never with a value, because any of them may be a secret.
/// </summary>
internal static class ExportFile
{
    /// <summary>Bytes. An export of Keycloak has some three kilobytes for each client.</summary>
    private const int MaxLength = 128 * 1024 * 1024;

    private const int MaxClients = 100_000;

    private static readonly UTF8Encoding StrictUtf8 = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    public static string ReadText(string path)
    {
        try
        {
            return StrictUtf8.GetString(WithoutMark(ReadBytes(path)));
        }
        catch (DecoderFallbackException e)
        {
            throw new OperatorException($"{path} is not UTF-8 (at byte {e.Index}).");
        }
    }

    public static JsonDocument ReadJson(string path)
    {
        try
        {
            return JsonDocument.Parse(
                new ReadOnlyMemory<byte>(ReadBytes(path)).TrimMark(), new JsonDocumentOptions { AllowDuplicateProperties = false });
        }
        catch (JsonException e)
        {
            // The exception's own message may show a part of the file.
            throw new OperatorException(e.LineNumber is { } line
                ? $"{path} is not JSON: see line {line + 1}, byte {e.BytePositionInLine + 1}."
                : $"{path} is not JSON: an object has two members of the same name.");
        }
        // Half of a surrogate pair in the name of a member.
        catch (InvalidOperationException)
        {
            throw new OperatorException($"{path} is not JSON: an object has a member whose name is not valid text.");
        }
    }

    /// <exception cref="OperatorException">There are too many clients.</exception>
    public static void CheckCount(string path, int count)
    {
        if (count > MaxClients)
            throw new OperatorException($"{path} has {count} clients. Split it: at most {MaxClients} are read at once.");
    }

    private static byte[] ReadBytes(string path)
    {
        try
        {
            using var file = File.OpenRead(path);
            // It may be a pipe, which has no length: an admin who decrypts the export need not write it to a disk.
            var bytes = new MemoryStream();
            var part = new byte[64 * 1024];
            for (int length; (length = file.Read(part)) > 0;)
            {
                if (bytes.Length + length > MaxLength)
                    throw new OperatorException($"{path} has more than {MaxLength / 1024 / 1024} MiB. Split it, or leave out what is "
                        + "not a client.");
                bytes.Write(part, 0, length);
            }

            return bytes.ToArray();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new OperatorException($"{path} cannot be read: {e.Message}");
        }
    }

    private static ReadOnlySpan<byte> WithoutMark(ReadOnlySpan<byte> bytes) =>
        bytes.StartsWith(Encoding.UTF8.Preamble) ? bytes[Encoding.UTF8.Preamble.Length..] : bytes;

    private static ReadOnlyMemory<byte> TrimMark(this ReadOnlyMemory<byte> bytes) =>
        bytes[(bytes.Length - WithoutMark(bytes.Span).Length)..];
}

/// <summary>A value in an export, with its place in the file for messages.</summary>
internal readonly record struct ExportNode(string Place, JsonElement Json)
{
    public bool IsObject => Json.ValueKind == JsonValueKind.Object;

    public bool IsArray => Json.ValueKind == JsonValueKind.Array;

    /// <summary>A member; null: it is missing or JSON's null.</summary>
    public ExportNode? this[string name] =>
        IsObject
            ? Json.TryGetProperty(name, out var value) && value.ValueKind != JsonValueKind.Null
                ? new ExportNode(Place.Length == 0 ? name : $"{Place}.{name}", value)
                : null
            : throw Not("an object");

    /// <summary>The first of these members that is there.</summary>
    public ExportNode? Any(params ReadOnlySpan<string> names)
    {
        foreach (var name in names)
        {
            if (this[name] is { } node)
                return node;
        }

        return null;
    }

    public IReadOnlyList<ExportNode> Items
    {
        get
        {
            if (!IsArray)
                throw Not("an array");
            var (place, number) = (Place, 0);
            return [.. Json.EnumerateArray().Select(item => new ExportNode($"{place}[{number++}]", item))];
        }
    }

    /// <summary>The members of an object.</summary>
    public IReadOnlyList<(string Name, ExportNode Node)> Members
    {
        get
        {
            if (!IsObject)
                throw Not("an object");
            var place = Place;
            return [.. Json.EnumerateObject().Select(member => (member.Name, new ExportNode($"{place}.{member.Name}", member.Value)))];
        }
    }

    public string Text => Json.ValueKind == JsonValueKind.String ? ReadString() : throw Not("a string");

    public bool Flag => Json.ValueKind switch
    {
        JsonValueKind.True => true,
        JsonValueKind.False => false,
        JsonValueKind.String when bool.TryParse(ReadString(), out var flag) => flag,
        _ => throw Not("true or false"),
    };

    public IReadOnlyList<string> Texts => [.. Items.Select(item => item.Text)];

    // The names of members are text of the file.
    public OperatorException Not(string what) =>
        new(Terminal.Shown($"In the file, {(Place.Length == 0 ? "the whole" : Place)} is not {what}."));

    private string ReadString()
    {
        try
        {
            return Json.GetString()!;
        }
        // Half of a surrogate pair.
        catch (InvalidOperationException)
        {
            throw Not("valid text");
        }
    }
}
