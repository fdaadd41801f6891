using Microsoft.Extensions.DependencyInjection;
using TokenService.Postgres;
using TokenService.Protocol;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Fapi;

/// <summary>
/// Without the database no other replica learns that an assertion was used. The profile then serves nobody, even if
/// Assertions:WhileAway is Memory.
/// </summary>
[TestFixture]
public sealed class WhileTheDatabaseIsAway
{
    private const string Issuer = "https://as.example.com";

    [Test, Rfc(7523, "3e")]
    public async Task An_assertion_is_accepted_on_memory_alone_only_outside_the_profile([Values] bool isFapi)
    {
        await using var database = await Database.CreateAsync();
        var key = await database.CreateKeyClientAsync("signer");
        using var wire = new DatabaseProxy(database);
        await using var server = await TestServer.StartAsync(
            wire.ConnectionString, new FakeClock(),
            $"Issuer={Issuer}", "TlsTerminatedUpstream=true", "Assertions:WhileAway=Memory", $"Profile={(isFapi ? "Fapi2" : "Baseline")}");
        await server.IsListeningAsync();
        // The memory of a replica must reach back further than any assertion that it accepts on memory alone.
        for (var i = 0; i < 3; i++)
        {
            server.Clock.Advance(TimeSpan.FromMinutes(1));
            await server.HasReceivedNotificationsAsync();
        }

        (await SendAsync()).IsGrant(tokenType: "DPoP");
        wire.Cut();
        await Soon.IsAsync(
            "the server notices",
            () => !server.Services.GetRequiredService<ChangeNotifications>().IsListening);

        var answer = await SendAsync();

        if (!isFapi)
        {
            answer.IsGrant(tokenType: "DPoP");
            return;
        }

        answer.IsError(
            503, "temporarily_unavailable", "The server cannot answer now. Retry-After says when to ask again.",
            ("Retry-After", answer.Headers["Retry-After"]));
        Assert.That(
            (await server.Events.OfAsync(answer.RequestId)).GetProperty("reason").GetString(), Is.EqualTo(Reason.DatabaseUnavailable));

        Task<Answer> SendAsync()
        {
            var now = server.Clock.GetUtcNow();
            return TokenRequestBuilder.ByAssertion(SignedJwt.Assertion(now, Issuer, "signer", key).Signed())
                .WithHeader("DPoP", SignedJwt.Proof(now, $"{Issuer}/token", key).Signed()).SendAsync(server);
        }
    }
}
