using System.Text.Json;
using TokenService.Jose;

namespace TokenService.Endpoints;

/// <summary>The body of a response that is not a refusal.</summary>
internal interface IAnswer
{
    /// <summary>The media type of the body; null: there is no body.</summary>
    public string? ContentType { get; }

    /// <summary>The body. The caller uses it at once and does not keep it.</summary>
    public ReadOnlySpan<byte> ToUtf8();
}

/// <summary>A body that is a JSON object.</summary>
internal abstract record JsonAnswer : IAnswer
{
    public string ContentType => "application/json";

    public ReadOnlySpan<byte> ToUtf8() => Utf8Json.Write(this, static (answer, json) => answer.WriteTo(json));

    public abstract void WriteTo(Utf8JsonWriter json);
}

/// <summary>A body that is a JWT.</summary>
/// <param name="Jwt">The JWT, in ASCII.</param>
/// <param name="Type">The value of <c>typ</c>, from which the media type follows.</param>
internal sealed record JwtAnswer(byte[] Jwt, string Type) : IAnswer
{
    public string ContentType => "application/" + Type;

    public ReadOnlySpan<byte> ToUtf8() => Jwt;
}

/// <summary>A response without a body.</summary>
internal sealed record EmptyAnswer : IAnswer
{
    public string? ContentType => null;

    public ReadOnlySpan<byte> ToUtf8() => [];
}
