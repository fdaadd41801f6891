using System.Text.Json;
using TokenService.Jose;

namespace TokenService.Endpoints;

/// <summary>The body of a response that is no refusal.</summary>
internal interface IAnswer
{
    /// <summary>Null: there is no body.</summary>
    public string? ContentType { get; }

    /// <summary>The body. The caller uses it at once and does not keep it.</summary>
    public ReadOnlySpan<byte> ToUtf8();
}

/// <summary>A JSON object.</summary>
internal abstract record JsonAnswer : IAnswer
{
    public string ContentType => "application/json";

    public ReadOnlySpan<byte> ToUtf8() => Utf8Json.Write(this, static (answer, json) => answer.WriteTo(json));

    public abstract void WriteTo(Utf8JsonWriter json);
}

/// <summary>A JWT.</summary>
/// <param name="Jwt">In ASCII.</param>
/// <param name="Type">Its typ.</param>
internal sealed record JwtAnswer(byte[] Jwt, string Type) : IAnswer
{
    public string ContentType => "application/" + Type;

    public ReadOnlySpan<byte> ToUtf8() => Jwt;
}

/// <summary>No body.</summary>
internal sealed record EmptyAnswer : IAnswer
{
    public string? ContentType => null;

    public ReadOnlySpan<byte> ToUtf8() => [];
}
