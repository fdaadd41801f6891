using System.Net;
using System.Text.Json;
using TokenService.Protocol;

namespace TokenService.Audit;

/// <summary>
/// One line of the event log: a request to an endpoint that authenticates its caller, granted or refused. The steps of
/// the request fill it in. It holds no secret, token or assertion.
/// </summary>
internal sealed class RequestEvent
{
    /// <summary>The value of <see cref="ReplayCheck"/>.</summary>
    public const string OnMemoryAlone = "memory";

    /// <summary>When the request arrived.</summary>
    public required DateTimeOffset Time { get; init; }

    /// <summary>
    /// The value of the response's <c>Request-Id</c> header; a response with a token has none.
    /// </summary>
    public required string RequestId { get; init; }

    /// <summary>The path of the endpoint, such as <c>/token</c>.</summary>
    public required string Endpoint { get; init; }

    /// <summary>The caller's address. Behind a configured proxy, the one that the proxy forwarded.</summary>
    public required IPAddress? Source { get; init; }

    /// <summary>
    /// The client_id that the request names, authenticated or not; null: none, none that is well-formed, or one that is
    /// probably a secret.
    /// </summary>
    public string? ClientId { get; set; }

    /// <summary>The method by which the client authenticates, as in RFC 8414 §2.</summary>
    public string? AuthMethod { get; set; }

    /// <summary>The credential that was verified; null: the caller was not authenticated.</summary>
    public CredentialId? Credential { get; set; }

    /// <summary>
    /// <see cref="OnMemoryAlone"/>: the assertion was accepted while the database did not answer, and another replica may
    /// have accepted it too. Null: it was not.
    /// </summary>
    public string? ReplayCheck { get; set; }

    /// <summary>The thumbprint of the key that the token is bound to; null: it is not bound.</summary>
    public string? KeyThumbprint { get; set; }

    /// <summary>The audience of the token.</summary>
    public string? Resource { get; set; }

    /// <summary>The scope granted.</summary>
    public string? Scope { get; set; }

    /// <summary>The jti of the token that was issued, introspected or revoked.</summary>
    public string? TokenId { get; set; }

    /// <summary>The client that the introspected or revoked token was issued to.</summary>
    public string? TokenClientId { get; set; }

    /// <summary>The <c>active</c> member of the introspection response.</summary>
    public bool? IsActive { get; set; }

    /// <summary>The kid of the key that signed the issued token.</summary>
    public string? KeyId { get; set; }

    /// <summary>The HTTP status of the answer.</summary>
    public int Status { get; set; }

    /// <summary>The error code; null: granted.</summary>
    public string? Error { get; set; }

    /// <summary>True when the answer asks the client to try again with the nonce in it.</summary>
    public bool IsChallenged { get; set; }

    /// <summary>
    /// Why the request was refused, or why a token is not valid: one of <see cref="Protocol.Reason"/>.
    /// </summary>
    public string? Reason { get; set; }

    /// <summary>Text that explains the reason.</summary>
    public string? Detail { get; set; }

    /// <summary>The time from reading the request's headers until the answer was known.</summary>
    public TimeSpan Duration { get; set; }

    /// <param name="error">The error that refuses the request; null: it is granted.</param>
    /// <param name="duration">The time since the request's headers were read.</param>
    public void SetOutcome(OAuthError? error, TimeSpan duration)
    {
        Status = error?.Status ?? 200;
        Error = error?.Code;
        IsChallenged = error?.IsChallenge is true;
        Reason = error?.Reason ?? Reason;
        Detail = error?.Detail ?? Detail;
        Duration = duration;
    }

    public void WriteTo(Utf8JsonWriter json)
    {
        json.WriteStartObject();
        json.WriteString("time"u8, Time);
        json.WriteString("request_id"u8, RequestId);
        json.WriteString("endpoint"u8, Endpoint);
        json.WriteString("outcome"u8, Error is null ? "granted"u8 : IsChallenged ? "challenged"u8 : "refused"u8);
        json.WriteNumber("status"u8, Status);
        Write(json, "error"u8, Error);
        Write(json, "reason"u8, Reason);
        Write(json, "detail"u8, Detail);
        Write(json, "client_id"u8, ClientId);
        Write(json, "auth_method"u8, AuthMethod);
        if (Credential is { Kind: CredentialId.Secret } secret)
            json.WriteString("secret_id"u8, secret.Id);
        if (Credential is { Kind: CredentialId.Key } key)
            json.WriteString("client_kid"u8, key.Id.AsSpan(key.Id.IndexOf(' ') + 1));
        Write(json, "replay_check"u8, ReplayCheck);
        Write(json, "jkt"u8, KeyThumbprint);
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
