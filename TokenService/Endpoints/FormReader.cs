using Microsoft.Net.Http.Headers;
using TokenService.Protocol;

namespace TokenService.Endpoints;

/// <summary>Reads the body of a request into a form: of the right kind, in time, within bounds.</summary>
internal sealed class FormReader(TimeProvider clock)
{
    /// <summary>How long a body may take to arrive. Kestrel's minimum rate alone would let 16 KiB take a minute.</summary>
    public static readonly TimeSpan TimeLimit = TimeSpan.FromSeconds(10);

    public async Task<Result<Form>> ReadAsync(HttpRequest request, CancellationToken ct)
    {
        if (!IsForm(request))
            return OAuthError.InvalidRequest("The body must be application/x-www-form-urlencoded in UTF-8.", status: 415);

        using var limit = new CancellationTokenSource(TimeLimit, clock);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(ct, limit.Token);
        try
        {
            return await ReadBodyAsync(request, either.Token);
        }
        catch (OperationCanceledException) when (!ct.IsCancellationRequested)
        {
            return TooSlow();
        }
        // Kestrel's own judgement of a body: too slow, too large, or framed wrongly.
        catch (BadHttpRequestException e)
        {
            return e.StatusCode switch
            {
                StatusCodes.Status408RequestTimeout => TooSlow(),
                StatusCodes.Status413PayloadTooLarge => TooLarge(),
                _ => OAuthError.InvalidRequest("The body could not be read."),
            };
        }
    }

    private static async Task<Result<Form>> ReadBodyAsync(HttpRequest request, CancellationToken ct)
    {
        if (request.ContentLength > Form.MaximumLength)
            return TooLarge();

        var body = request.BodyReader;
        while (true)
        {
            var read = await body.ReadAsync(ct);
            if (read.IsCompleted || read.Buffer.Length > Form.MaximumLength)
            {
                var form = read.Buffer.Length > Form.MaximumLength ? TooLarge() : Form.Parse(read.Buffer);
                body.AdvanceTo(read.Buffer.End);
                return form;
            }

            body.AdvanceTo(read.Buffer.Start, read.Buffer.End);
        }
    }

    private static bool IsForm(HttpRequest request) =>
        MediaTypeHeaderValue.TryParse(request.ContentType, out var type)
        && type.MediaType.Equals("application/x-www-form-urlencoded", StringComparison.OrdinalIgnoreCase)
        && (type.Charset.Length == 0 || type.Charset.Equals("utf-8", StringComparison.OrdinalIgnoreCase))
        && request.Headers.ContentEncoding.Count == 0;

    private static OAuthError TooLarge() => OAuthError.InvalidRequest("The body is too large.", status: 413);

    private static OAuthError TooSlow() => OAuthError.InvalidRequest("The body took too long to arrive.", status: 408);
}
