using System.Buffers.Text;
using System.Globalization;
using System.Security.Cryptography;
using Microsoft.Net.Http.Headers;

namespace TokenService.Endpoints;

/// <summary>A public document that verifiers may keep for a while and then ask whether it changed (RFC 9110 §13, RFC 9111 §5.2).</summary>
/// <param name="utf8">The body.</param>
/// <param name="contentType">Its media type.</param>
/// <param name="maxAge">How long it may be kept.</param>
internal sealed class CacheableDocument(byte[] utf8, string contentType, TimeSpan maxAge)
{
    private readonly EntityTagHeaderValue etag = new($"\"{Base64Url.EncodeToString(SHA256.HashData(utf8).AsSpan(0, 16))}\"");

    private readonly string cacheControl =
        string.Create(CultureInfo.InvariantCulture, $"public, max-age={(long)maxAge.TotalSeconds}");

    public async Task AnswerAsync(HttpContext http)
    {
        var response = http.Response;
        response.Headers.CacheControl = cacheControl;
        response.Headers.ETag = etag.ToString();
        if (http.Request.GetTypedHeaders().IfNoneMatch.Any(Matches))
        {
            response.StatusCode = StatusCodes.Status304NotModified;
            return;
        }

        response.ContentType = contentType;
        response.ContentLength = utf8.Length;
        if (!HttpMethods.IsHead(http.Request.Method))
            await response.Body.WriteAsync(utf8, http.RequestAborted);
    }

    // RFC 9110 §13.1.2: If-None-Match compares weakly, and * matches any.
    private bool Matches(EntityTagHeaderValue candidate) =>
        candidate.Equals(EntityTagHeaderValue.Any) || candidate.Compare(etag, useStrongComparison: false);
}
