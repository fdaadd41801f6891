using System.Buffers.Text;
using System.Globalization;
using System.Security.Cryptography;
using Microsoft.Net.Http.Headers;
using TokenService.Limits;

namespace TokenService.Endpoints;

/// <summary>
/// A public document that readers may cache, and revalidate with its <c>ETag</c> (RFC 9110 §13, RFC 9111 §5.2).
/// </summary>
/// <param name="utf8">The body.</param>
/// <param name="contentType">The media type of the body.</param>
/// <param name="maxAge">How long a reader may cache it.</param>
/// <param name="throttle">Anybody may read it, as often as they like.</param>
internal sealed class CacheableDocument(byte[] utf8, string contentType, TimeSpan maxAge, DocumentThrottle throttle)
{
    private const int MaxPart = 16 * 1024;

    private readonly EntityTagHeaderValue etag = new($"\"{Base64Url.EncodeToString(SHA256.HashData(utf8).AsSpan(0, 16))}\"");

    private readonly string cacheControl =
        string.Create(CultureInfo.InvariantCulture, $"public, max-age={(long)maxAge.TotalSeconds}");

    public async Task AnswerAsync(HttpContext http)
    {
        var isKnown = http.Request.GetTypedHeaders().IfNoneMatch.Any(Matches);
        var isSent = !isKnown && !HttpMethods.IsHead(http.Request.Method);
        await throttle.WaitAsync(http.RequestAborted, turns: isSent ? DocumentThrottle.TurnsOf(utf8.Length) : 1);

        var response = http.Response;
        response.Headers.CacheControl = cacheControl;
        response.Headers.ETag = etag.ToString();
        if (isKnown)
        {
            response.StatusCode = StatusCodes.Status304NotModified;
            return;
        }

        response.ContentType = contentType;
        response.ContentLength = utf8.Length;
        if (isSent)
            await WriteAsync(response.Body, http.RequestAborted);
    }

    // Kestrel copies all of one write into its buffer, so a large document is written in parts: a caller that reads
    // slowly then holds one part of it.
    private async Task WriteAsync(Stream body, CancellationToken ct)
    {
        for (var begin = 0; begin < utf8.Length; begin += MaxPart)
            await body.WriteAsync(utf8.AsMemory(begin, Math.Min(MaxPart, utf8.Length - begin)), ct);
    }

    // RFC 9110 §13.1.2: If-None-Match uses the weak comparison, and * matches every document.
    private bool Matches(EntityTagHeaderValue candidate) =>
        candidate.Equals(EntityTagHeaderValue.Any) || candidate.Compare(etag, useStrongComparison: false);
}
