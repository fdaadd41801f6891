using System.Net;
using System.Text.Json;

namespace TokenService.Audit;

/// <summary>
/// What became of one request at an endpoint that authenticates its caller, granted or refused: one line of the event log. Filled in as the
/// request goes its way. Holds no secret, token or assertion.
/// </summary>
internal sealed class RequestEvent
{
    /// <summary>When the request came.</summary>
    public required DateTimeOffset Time { get; init; }

    /// <summary>What the answer calls <c>Request-Id</c>.</summary>
    public required string RequestId { get; init; }

    /// <summary>The path of the endpoint, as <c>/token</c>.</summary>
    public required string Endpoint { get; init; }

    /// <summary>Where the request came from, as far as the configured proxies tell it.</summary>
    public required IPAddress? Source { get; init; }

    /// <summary>The client that is named, whether or not it is the one; null: none well-formed.</summary>
    public string? ClientId { get; set; }

    /// <summary>How it authenticates.</summary>
    public string? Method { get; set; }

    /// <summary>The secret that proved right.</summary>
    public string? SecretId { get; set; }

    /// <summary>The audience of the token.</summary>
    public string? Resource { get; set; }

    /// <summary>The scope granted.</summary>
    public string? Scope { get; set; }

    /// <summary>The jti of the token: handed out, introspected or revoked.</summary>
    public string? TokenId { get; set; }

    /// <summary>Whose token was introspected.</summary>
    public string? TokenClientId { get; set; }

    /// <summary>What introspection said of it.</summary>
    public bool? IsActive { get; set; }

    /// <summary>The kid it was signed with.</summary>
    public string? KeyId { get; set; }

    /// <summary>The HTTP status of the answer.</summary>
    public int Status { get; set; }

    /// <summary>The error code; null: granted.</summary>
    public string? Error { get; set; }

    /// <summary>Why it was refused, or a token is not active: more than the caller is told.</summary>
    public string? Reason { get; set; }

    /// <summary>From the request's headers being read to the answer being known.</summary>
    public TimeSpan Duration { get; set; }

    public void WriteTo(Utf8JsonWriter json)
    {
        json.WriteStartObject();
        json.WriteString("time"u8, Time);
        json.WriteString("request_id"u8, RequestId);
        json.WriteString("endpoint"u8, Endpoint);
        json.WriteString("outcome"u8, Error is null ? "granted"u8 : "refused"u8);
        json.WriteNumber("status"u8, Status);
        Write(json, "error"u8, Error);
        Write(json, "reason"u8, Reason);
        Write(json, "client_id"u8, ClientId);
        Write(json, "method"u8, Method);
        Write(json, "secret_id"u8, SecretId);
        Write(json, "resource"u8, Resource);
        Write(json, "scope"u8, Scope);
        Write(json, "jti"u8, TokenId);
        Write(json, "token_client_id"u8, TokenClientId);
        if (IsActive is { } isActive)
            json.WriteBoolean("active"u8, isActive);
        Write(json, "kid"u8, KeyId);
        WriteSource(json);
        json.WriteNumber("duration_us"u8, (long)Duration.TotalMicroseconds);
        json.WriteEndObject();
    }

    private static void Write(Utf8JsonWriter json, ReadOnlySpan<byte> name, string? value)
    {
        if (value is not null)
            json.WriteString(name, value);
    }

    private void WriteSource(Utf8JsonWriter json)
    {
        Span<char> text = stackalloc char[64]; // an IPv6 address with its zone
        if (Source is not null && Source.TryFormat(text, out var length))
            json.WriteString("source"u8, text[..length]);
    }
}
