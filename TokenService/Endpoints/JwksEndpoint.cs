using TokenService.Keys;

namespace TokenService.Endpoints;

/// <summary><c>GET /.well-known/jwks.json</c>: the keys a verifier needs, RFC 7517 §5.</summary>
internal sealed class JwksEndpoint(SigningKeys keys)
{
    public const string Path = "/.well-known/jwks.json";

    // Made anew only when the keys are: two requests that do so at once do no harm.
    private volatile Published? published;

    public Task AnswerAsync(HttpContext http)
    {
        var set = keys.JwkSet;
        if (published is not { } current || !ReferenceEquals(current.Set, set))
            published = current = new Published(set, new CacheableDocument(set.Json, "application/jwk-set+json", set.MaxAge));
        return current.Document.AnswerAsync(http);
    }

    private sealed record Published(JwkSet Set, CacheableDocument Document);
}
