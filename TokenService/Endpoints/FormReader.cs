using System.Buffers;
using System.IO.Pipelines;
using Microsoft.AspNetCore.Connections;
using TokenService.Protocol;

namespace TokenService.Endpoints;

/// <summary>Reads the body of a request as a form. It limits the body's media type, size and time.</summary>
internal sealed class FormReader(TimeProvider clock)
{
    /// <summary>
    /// How long a body may take to arrive. Kestrel's own limit, a minimum rate, is turned off.
    /// </summary>
    public static readonly TimeSpan TimeLimit = TimeSpan.FromSeconds(10);

    private const string FormType = "application/x-www-form-urlencoded";

    public ValueTask<Result<Form>> ReadAsync(HttpRequest request)
    {
        if (!IsForm(request))
        {
            return new(OAuthError.InvalidRequest(
                Reason.BodyNotForm,
                "The body must have the Content-Type application/x-www-form-urlencoded and no Content-Encoding.",
                status: 415));
        }

        if (request.ContentLength > Form.MaxLength)
            return new(TooLarge());
        // Most bodies arrive together with their headers. They are read at once, without a timer.
        return TryReadWhole(request) is { } form ? new(form) : new(ReadInTimeAsync(request));
    }

    private static Result<Form>? TryReadWhole(HttpRequest request)
    {
        var body = request.BodyReader;
        if (request.ContentLength is null || !TryRead(body, out var read))
            return null;
        if (read.Buffer.Length < request.ContentLength)
        {
            body.AdvanceTo(read.Buffer.Start);
            return null;
        }

        var form = Form.Parse(read.Buffer);
        body.AdvanceTo(read.Buffer.End);
        return form;
    }

    // False: the body has not arrived, or reading it failed. In both cases ReadInTimeAsync reads again and returns the
    // error.
    private static bool TryRead(PipeReader body, out ReadResult read)
    {
        try
        {
            return body.TryRead(out read);
        }
        catch (IOException)
        {
            read = default;
            return false;
        }
    }

    private async Task<Result<Form>> ReadInTimeAsync(HttpRequest request)
    {
        var deadline = new Deadline(request.BodyReader);
        await using var timer = clock.CreateTimer(
            static deadline => ((Deadline)deadline!).Pass(), deadline, TimeLimit, Timeout.InfiniteTimeSpan);
        try
        {
            return await ReadBodyAsync(request.BodyReader, deadline);
        }
        // Kestrel refuses the body because it is too slow, too large or has malformed framing.
        catch (BadHttpRequestException e)
        {
            return e.StatusCode switch
            {
                StatusCodes.Status408RequestTimeout => TooSlow(),
                StatusCodes.Status413PayloadTooLarge => TooLarge(),
                _ => Unreadable(),
            };
        }
        // Kestrel would try to read the rest of the body, and log an error with a stack trace each time.
        catch (ConnectionResetException)
        {
            request.HttpContext.Abort();
            return Unreadable();
        }
        // Kestrel throws IOException for a chunk size that is not a number it can hold. The connection may also be
        // broken, or closed by this server; then the answer reaches nobody.
        catch (Exception e) when (e is IOException or OperationCanceledException)
        {
            return Unreadable();
        }
    }

    // Each part is copied and consumed as it arrives. A part that was examined and not consumed would leave Kestrel's
    // pipe in a state that it cannot continue from when the caller disconnects, and would hold 4 KiB however short it is.
    private static async Task<Result<Form>> ReadBodyAsync(PipeReader body, Deadline deadline)
    {
        var received = new ArrayBufferWriter<byte>();
        while (true)
        {
            // Without a cancellation token: a read that a token cancels leaves the pipe in a state that Kestrel cannot
            // continue from. Kestrel itself ends the read when the caller disconnects.
            var read = await body.ReadAsync(CancellationToken.None);
            // A server that stops also cancels reads, but then waits for its running requests. Only the deadline ends
            // this request.
            var refusal = deadline.HasPassed ? TooSlow()
                : received.WrittenCount + read.Buffer.Length > Form.MaxLength ? TooLarge()
                : null;
            if (refusal is null)
                Append(read.Buffer, received);
            body.AdvanceTo(read.Buffer.End);
            if (refusal is not null)
                return refusal;
            if (read.IsCompleted)
                return Form.Parse(new ReadOnlySequence<byte>(received.WrittenMemory));
        }
    }

    private static void Append(ReadOnlySequence<byte> part, ArrayBufferWriter<byte> received)
    {
        foreach (var segment in part)
            received.Write(segment.Span);
    }

    // The media type has no parameters, so any that are sent mean nothing: Apache HttpClient adds charset=ISO-8859-1 to a
    // body that it has percent-encoded as UTF-8. A body without encoding may say so (RFC 9110 §12.5.3, identity).
    private static bool IsForm(HttpRequest request)
    {
        var type = request.ContentType.AsSpan();
        var end = type.IndexOf(';');
        var coding = request.Headers.ContentEncoding;
        return (end < 0 ? type : type[..end]).Trim().Equals(FormType, StringComparison.OrdinalIgnoreCase)
            && (coding.Count == 0 || coding.All(IsIdentity));

        static bool IsIdentity(string? coding) =>
            string.IsNullOrEmpty(coding) || coding.Equals("identity", StringComparison.OrdinalIgnoreCase);
    }

    private static OAuthError TooLarge() =>
        OAuthError.InvalidRequest(Reason.BodyTooLarge, "The body is larger than 16 KiB.", status: 413);

    private static OAuthError Unreadable() =>
        OAuthError.InvalidRequest(Reason.BodyUnreadable, "The body was cut off or framed wrongly.");

    private static OAuthError TooSlow() =>
        OAuthError.InvalidRequest(Reason.BodyTooSlow, "The body took longer than 10 seconds to arrive.", status: 408);

    /// <summary>Ends a pending read when the time is up, and keeps the pipe usable for Kestrel.</summary>
    private sealed class Deadline(PipeReader body)
    {
        private volatile bool hasPassed;

        public bool HasPassed => hasPassed;

        public void Pass()
        {
            hasPassed = true;
            body.CancelPendingRead();
        }
    }
}
