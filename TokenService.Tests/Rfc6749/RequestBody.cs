using System.Text;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Options;
using TokenService.Endpoints;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Rfc6749;

/// <summary>The body may arrive in any pieces, within 16 KiB and within the time limit.</summary>
[TestFixture, Rfc(6749, "3.2"), Rfc(6749, "3.2f")]
public sealed class RequestBody : ServerFixture
{
    private const int Limit = 16 * 1024;
    private const string Body = "grant_type=client_credentials";

    // Kestrel's own minimum data rate runs on real time and gives the same answer. With that rate switched off, only
    // the fake clock can cause the refusal.
    [OneTimeSetUp]
    public void DisableTheMinimumRateOfKestrel() =>
        Server.Services.GetRequiredService<IOptions<KestrelServerOptions>>().Value.Limits.MinRequestBodyDataRate = null;

    [Test]
    public async Task A_body_in_chunks_is_read()
    {
        await using var wire = await RawConnection.OpenAsync(Server);
        await wire.SendAsync($"{RawConnection.Head(Client)}Transfer-Encoding: chunked\n\n");
        foreach (var c in Body)
            await wire.SendAsync($"1\n{c}\n");
        await wire.SendAsync("0\n\n");

        (await wire.ReadAnswerAsync()).IsGrant("invoices:read");
    }

    [Test]
    public async Task A_body_that_comes_byte_by_byte_is_read()
    {
        await using var wire = await RawConnection.OpenAsync(Server);
        await wire.SendAsync($"{RawConnection.Head(Client)}Content-Length: {Body.Length}\n\n");
        foreach (var c in Body)
            await wire.SendAsync($"{c}");

        (await wire.ReadAnswerAsync()).IsGrant("invoices:read");
    }

    [Test]
    public async Task A_body_of_16_KiB_is_read([Values] bool chunked)
    {
        await using var wire = await RawConnection.OpenAsync(Server);
        await wire.SendAsync(RawConnection.Head(Client) + Framed(OfLength(Limit), chunked));

        (await wire.ReadAnswerAsync()).IsGrant("invoices:read");
    }

    [Test]
    public async Task A_body_one_byte_over_16_KiB_is_refused_and_the_connection_closed([Values] bool chunked)
    {
        await using var wire = await RawConnection.OpenAsync(Server);
        await wire.SendAsync(RawConnection.Head(Client) + Framed(OfLength(Limit + 1), chunked));

        (await wire.ReadAnswerAsync()).IsError(413, "invalid_request",
            "The body is larger than 16 KiB.", ("Connection", "close"));
    }

    [TestCase(Limit + 1)]
    [TestCase(2 * Limit)]
    [TestCase((2 * Limit) + 1)]
    [TestCase(long.MaxValue)]
    public async Task A_body_that_is_announced_too_large_is_refused_before_it_is_sent(long length)
    {
        await using var wire = await RawConnection.OpenAsync(Server);
        await wire.SendAsync($"{RawConnection.Head(Client)}Content-Length: {length}\n\n");

        (await wire.ReadAnswerAsync()).IsError(413, "invalid_request",
            "The body is larger than 16 KiB.", ("Connection", "close"));
    }

    [Test]
    public async Task A_body_that_never_ends_is_refused_once_it_is_too_large()
    {
        await using var wire = await RawConnection.OpenAsync(Server);
        await wire.SendAsync($"{RawConnection.Head(Client)}Transfer-Encoding: chunked\n\n7fffffff\n{OfLength(Limit + 1)}");

        (await wire.ReadAnswerAsync()).IsError(413, "invalid_request",
            "The body is larger than 16 KiB.", ("Connection", "close"));
    }

    [TestCase("x\n")]
    [TestCase("-1\n")]
    [TestCase("ffffffffffffffff\n")]
    [TestCase("5\ngrant_type\n")]
    public async Task Chunks_that_are_framed_wrongly_are_refused(string chunks)
    {
        await using var wire = await RawConnection.OpenAsync(Server);
        await wire.SendAsync($"{RawConnection.Head(Client)}Transfer-Encoding: chunked\n\n{chunks}");

        (await wire.ReadAnswerAsync()).IsError(400, "invalid_request", "The body was cut off or framed wrongly.");
        Assert.That(await wire.IsClosedAsync());
    }

    // The server sends 100 Continue when it begins to wait for the body; the time limit runs from then on.
    [TestCase("")]
    [TestCase("grant_type=client")]
    public async Task A_body_that_takes_too_long_is_refused_and_the_connection_closed(string begun)
    {
        await using var wire = await RawConnection.OpenAsync(Server);
        await wire.SendAsync($"{RawConnection.Head(Client)}Content-Length: {Body.Length}\nExpect: 100-continue\n\n");
        Assert.That((await wire.ReadLineAsync(), await wire.ReadLineAsync()), Is.EqualTo(("HTTP/1.1 100 Continue", "")));
        await wire.SendAsync(begun);

        Server.Clock.Advance(FormReader.TimeLimit);

        (await wire.ReadAnswerAsync())
            .IsError(408, "invalid_request",
                "The body took longer than 10 seconds to arrive.", ("Connection", "close"));
        Assert.That(await wire.IsClosedAsync());
        Assert.That(Server.Log.Lines, Has.None.StartsWith("Error"));
    }

    [Test]
    public async Task A_body_that_comes_just_in_time_is_read()
    {
        await using var wire = await RawConnection.OpenAsync(Server);
        await wire.SendAsync($"{RawConnection.Head(Client)}Content-Length: {Body.Length}\nExpect: 100-continue\n\n");
        Assert.That((await wire.ReadLineAsync(), await wire.ReadLineAsync()), Is.EqualTo(("HTTP/1.1 100 Continue", "")));

        Server.Clock.Advance(FormReader.TimeLimit - TimeSpan.FromTicks(1));
        await wire.SendAsync(Body);

        (await wire.ReadAnswerAsync()).IsGrant("invoices:read");
    }

    // This test has its own server: once that server has stopped, it has logged everything about the request.
    [Test]
    public async Task A_caller_that_disconnects_in_mid_request_is_not_logged([Values] bool reset)
    {
        await using var server = await TestServer.StartAsync(Database);
        await using var wire = await RawConnection.OpenAsync(server);
        // The first part of the body arrives with the headers, so the server has read it before it sends 100 Continue.
        await wire.SendAsync(
            $"{RawConnection.Head(Client)}Content-Length: {Body.Length}\nExpect: 100-continue\n\ngrant_type=client");
        Assert.That((await wire.ReadLineAsync(), await wire.ReadLineAsync()), Is.EqualTo(("HTTP/1.1 100 Continue", "")));
        if (reset)
            wire.Reset();
        else
            wire.EndSending();

        (await TokenRequestBuilder.For(Client).SendAsync(server)).IsGrant("invoices:read");
        await server.StopAsync();
        Assert.That(
            server.Log.Lines,
            Has.None.StartsWith("Warning Microsoft.AspNetCore").And.None.StartsWith("Error").And.None.StartsWith("Critical"));
    }

    [Test]
    public async Task Pipelined_requests_are_answered_in_order()
    {
        var refused = "POST /token HTTP/1.1\nHost: 127.0.0.1\nContent-Type: text/plain\nContent-Length: 4\n\nPOST";
        await using var wire = await RawConnection.OpenAsync(Server);
        await wire.SendAsync(
            $"{refused}{RawConnection.Head(Client)}{Framed(Body, chunked: true)}"
            + $"{RawConnection.Head(Client)}{Framed(Body, chunked: false)}");

        (await wire.ReadAnswerAsync()).IsError(415, "invalid_request",
            "The body must have the Content-Type application/x-www-form-urlencoded and no Content-Encoding.");
        (await wire.ReadAnswerAsync()).IsGrant("invoices:read");
        (await wire.ReadAnswerAsync()).IsGrant("invoices:read");
    }

    private static string OfLength(int length) => $"{Body}&x=".PadRight(length, 'x');

    private static string Framed(string body, bool chunked) => chunked
        ? $"Transfer-Encoding: chunked\n\n{string.Concat(body.Chunk(1000).Select(c => $"{c.Length:x}\n{new string(c)}\n"))}0\n\n"
        : $"Content-Length: {Encoding.ASCII.GetByteCount(body)}\n\n{body}";
}
