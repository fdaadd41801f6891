using System.Text.Json;
using Microsoft.Extensions.Options;
using TokenService.Keys;

namespace TokenService.Endpoints;

/// <summary><c>GET /.well-known/jwks.json</c>: the keys a verifier needs, RFC 7517 §5.</summary>
internal sealed class JwksEndpoint(SigningKeys keys, IOptions<KeyOptions> options, TimeProvider clock)
{
    public const string Path = "/.well-known/jwks.json";

    public Task AnswerAsync(HttpContext http)
    {
        var published = keys.Ring.PublishedAt(clock.GetUtcNow());
        return new CacheableDocument(Write(published), "application/jwk-set+json", options.Value.JwksMaxAge).AnswerAsync(http);
    }

    private static byte[] Write(IEnumerable<SigningKey> published)
    {
        using var utf8 = new MemoryStream();
        using (var json = new Utf8JsonWriter(utf8))
        {
            json.WriteStartObject();
            json.WriteStartArray("keys");
            foreach (var key in published)
                key.PublicJwk.WriteTo(json);
            json.WriteEndArray();
            json.WriteEndObject();
        }

        return utf8.ToArray();
    }
}
