using TokenService.Keys;
using TokenService.Limits;

namespace TokenService.Endpoints;

/// <summary><c>GET /.well-known/jwks.json</c>: the public keys for verifiers, RFC 7517 §5.</summary>
internal sealed class JwksEndpoint(SigningKeys keys, DocumentThrottle throttle)
{
    public const string Path = "/.well-known/jwks.json";

    // Replaced when the JWKS changes. If two requests replace it at the same time, both make the same document.
    private volatile Published? published;

    public Task AnswerAsync(HttpContext http)
    {
        var set = keys.JwkSet;
        if (published is not { } current || !ReferenceEquals(current.Set, set))
        {
            var document = new CacheableDocument(set.Json, "application/jwk-set+json", set.MaxAge, throttle);
            published = current = new Published(set, document);
        }

        return current.Document.AnswerAsync(http);
    }

    private sealed record Published(JwkSet Set, CacheableDocument Document);
}
