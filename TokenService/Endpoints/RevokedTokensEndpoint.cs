using TokenService.Limits;
using TokenService.Postgres;
using TokenService.Protocol;
using TokenService.Revocation;

namespace TokenService.Endpoints;

/// <summary><c>GET /revoked-tokens</c>: the <see cref="RevokedTokensList"/>, for APIs that verify offline.</summary>
internal sealed class RevokedTokensEndpoint(RevokedTokensList list, OAuthResponse responses, DocumentThrottle throttle)
{
    private static readonly TimeSpan RetryAfter = TimeSpan.FromSeconds(5);

    // Replaced when the list changes. If two requests replace it at the same time, both make the same document.
    private volatile Published? published;

    public async Task AnswerAsync(HttpContext http)
    {
        // Sending the list is no work: a caller that reads slowly does not keep its connection from being closed.
        var result = await http.WorkAsync(() => GetAsync(http.RequestAborted));
        if (!result.TryGet(out var jwt, out var error))
        {
            await throttle.WaitAsync(http.RequestAborted);
            await responses.RefuseAsync(http, error);
            return;
        }

        if (published is not { } current || !ReferenceEquals(current.Jwt, jwt))
        {
            var document = new CacheableDocument(jwt, "application/" + RevokedTokensList.Type, RevokedTokensList.MaxAge, throttle);
            published = current = new Published(jwt, document);
        }

        await current.Document.AnswerAsync(http);
    }

    private async Task<Result<byte[]>> GetAsync(CancellationToken ct)
    {
        try
        {
            return await list.GetAsync(ct);
        }
        catch (Exception e) when (DatabaseUnavailable.IsTheCauseOf(e))
        {
            return OAuthError.TemporarilyUnavailable(Reason.DatabaseUnavailable, RetryAfter);
        }
    }

    private sealed record Published(byte[] Jwt, CacheableDocument Document);
}
