using System.Net;
using System.Net.Http.Headers;
using System.Net.Sockets;
using System.Text;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Startup;

/// <summary>A stop, as SIGTERM begins it: the server answers requests in flight and accepts no new ones.</summary>
[TestFixture]
public sealed class Stopping : ServerFixture
{
    [Test, CancelAfter(30_000)]
    public async Task A_request_in_flight_is_answered_in_full(CancellationToken ct)
    {
        using var handler = Server.NewHandler();
        handler.Expect100ContinueTimeout = Timeout.InfiniteTimeSpan;
        using var client = new HttpClient(handler) { BaseAddress = Server.Address };
        using var body = new HeldBody("grant_type=client_cre", "dentials");
        using var request = new HttpRequestMessage(HttpMethod.Post, "/token") { Content = body };
        request.Headers.ExpectContinue = true;
        request.Headers.Authorization =
            new AuthenticationHeaderValue("Basic", TokenRequestBuilder.Base64($"{Client.Id}:{Client.Secret}"));

        // The server sends 100 Continue when it begins to read the body, so from here on the request is in flight.
        var answering = client.SendAsync(request, ct);
        await body.IsAskedFor.WaitAsync(ct);

        var stopping = Server.StopAsync();
        while (await IsOpenAsync(ct))
            ct.ThrowIfCancellationRequested();
        Assert.That(stopping.IsCompleted, Is.False);
        body.Release();

        using var response = await answering;
        Assert.That(response.Headers.ConnectionClose, Is.True);
        response.Headers.Connection.Clear();
        (await Answer.ReadAsync(response)).IsGrant("invoices:read");
        await stopping.WaitAsync(ct);
    }

    private async Task<bool> IsOpenAsync(CancellationToken ct)
    {
        try
        {
            await using var connection = await Server.ConnectAsync(ct);
            return true;
        }
        catch (SocketException e) when (e.SocketErrorCode == SocketError.ConnectionRefused)
        {
            return false;
        }
    }

    /// <summary>A form whose second half is sent only when the test releases it.</summary>
    private sealed class HeldBody : HttpContent
    {
        private readonly TaskCompletionSource askedFor = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private readonly TaskCompletionSource released = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private readonly byte[] first;
        private readonly byte[] second;

        public HeldBody(string first, string second)
        {
            (this.first, this.second) = (Encoding.ASCII.GetBytes(first), Encoding.ASCII.GetBytes(second));
            Headers.ContentType = new MediaTypeHeaderValue("application/x-www-form-urlencoded");
        }

        public Task IsAskedFor => askedFor.Task;

        public void Release() => released.SetResult();

        protected override async Task SerializeToStreamAsync(Stream stream, TransportContext? context)
        {
            await stream.WriteAsync(first);
            await stream.FlushAsync();
            askedFor.SetResult();
            await released.Task;
            await stream.WriteAsync(second);
        }

        protected override bool TryComputeLength(out long length)
        {
            length = first.Length + second.Length;
            return true;
        }
    }
}
