using Microsoft.Extensions.DependencyInjection;
using TokenService.Postgres;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Outages;

/// <summary>
/// A token that was introspected before, of a client that is known, is answered from memory up to the stated age. For
/// other tokens the server cannot know whether they were revoked. The rules are those of
/// <see cref="WhileTheDatabaseIsUnavailable"/>.
/// </summary>
[TestFixture, Rfc(7662, "4a")]
public sealed class IntrospectionWhileTheDatabaseIsUnavailable
{
    private static readonly TimeSpan ServeWhileAway = TimeSpan.FromMinutes(5);
    private static readonly TimeSpan Second = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan Instant = TimeSpan.FromMilliseconds(1);

    private Database database = null!;
    private DatabaseProxy wire = null!;
    private TestServer server = null!;
    private TestClient api = null!;
    private TestClient client = null!;
    private string known = null!;
    private string unknown = null!;
    private DateTimeOffset outageStart;

    [SetUp]
    public async Task StartServer()
    {
        database = await Database.CreateAsync();
        client = await database.CreateClientAsync("billing");
        api = await database.CreateApiAsync("api", "https://api.example.com");
        wire = new DatabaseProxy(database);
        await StartServerAsync();
    }

    [TearDown]
    public async Task StopServer()
    {
        wire.Cut();
        wire.Speak();
        await server.DisposeAsync();
        wire.Dispose();
        await database.DisposeAsync();
    }

    [Test]
    public async Task A_known_token_is_answered_up_to_the_stated_age(
        [Values] WhileTheDatabaseIsUnavailable.Outage outage)
    {
        await StartOutageAsync(outage);
        (await AskAsync(known)).IsActive(known);
        server.Clock.Advance(ServeWhileAway - OutageDuration - Instant);
        (await AskAsync(known)).IsActive(known);

        // The refusal comes at once, although the clock stands still: the server asked the database an instant ago.
        server.Clock.Advance(Instant);
        IsUnavailable(await AskAsync(known));
        IsUnavailable(await AskAsync(known));
    }

    [Test]
    public async Task A_known_token_is_not_answered_when_the_stated_age_is_zero(
        [Values] WhileTheDatabaseIsUnavailable.Outage outage)
    {
        await server.DisposeAsync();
        await StartServerAsync("Clients:ServeWhileAway=00:00:00");
        await StartOutageAsync(outage);
        await IsUnavailableAsync(known);
    }

    [Test]
    public async Task A_token_that_may_have_been_revoked_is_not_answered(
        [Values] WhileTheDatabaseIsUnavailable.Outage outage)
    {
        await StartOutageAsync(outage);
        await IsUnavailableAsync(unknown);
        (await AskAsync(known)).IsActive(known);
    }

    [Test]
    public async Task A_token_of_a_client_that_was_never_read_is_not_answered(
        [Values] WhileTheDatabaseIsUnavailable.Outage outage)
    {
        await using var other = await TestServer.StartAsync(database.ConnectionString, server.Clock);
        var stranger = await database.CreateClientAsync("stranger");
        var token = (await TokenRequestBuilder.For(stranger).SendAsync(other)).Token.EncodedToken;
        await StartOutageAsync(outage);

        await IsUnavailableAsync(token);
    }

    [Test]
    public async Task A_token_that_needs_no_database_is_answered([Values] WhileTheDatabaseIsUnavailable.Outage outage)
    {
        await StartOutageAsync(outage);

        (await AskAsync("rubbish")).IsInactive();
        (await AskAsync(new Forgery(known).WithDamagedSignature())).IsInactive();
        var signed = await TokenRequestBuilder.Introspect(api, known)
            .WithHeader("Accept", "application/token-introspection+jwt").SendAsync(server);
        signed.IsDone(signed.Body, "application/token-introspection+jwt");
    }

    [Test]
    public async Task A_token_that_expires_during_the_outage_is_inactive(
        [Values] WhileTheDatabaseIsUnavailable.Outage outage)
    {
        await database.ExecuteAsync("select token_service.update_client('billing', p_token_lifetime => '1 minute')");
        await server.HasReceivedNotificationsAsync();
        var token = (await TokenRequestBuilder.For(client).SendAsync(server)).Token.EncodedToken;
        (await AskAsync(token)).IsActive(token);
        await StartOutageAsync(outage);
        (await AskAsync(token)).IsActive(token);

        server.Clock.Advance(TimeSpan.FromMinutes(1) - OutageDuration);
        (await AskAsync(token)).IsInactive();
        (await AskAsync(known)).IsActive(known);
    }

    [Test]
    public async Task An_inactive_token_stays_inactive([Values] WhileTheDatabaseIsUnavailable.Outage outage)
    {
        (await TokenRequestBuilder.Revoke(client, unknown).SendAsync(server)).IsDone(contentType: null);
        await server.HasReceivedNotificationsAsync();
        (await AskAsync(unknown)).IsInactive();
        await StartOutageAsync(outage);

        (await AskAsync(unknown)).IsInactive();
    }

    [Test]
    public async Task A_token_revoked_during_the_outage_is_inactive_after_it(
        [Values] WhileTheDatabaseIsUnavailable.Outage outage)
    {
        await StartOutageAsync(outage);
        (await AskAsync(known)).IsActive(known);
        // Another replica, which reaches the database, revokes the token.
        await using var other = await TestServer.StartAsync(database.ConnectionString, server.Clock);
        (await TokenRequestBuilder.Revoke(client, known).SendAsync(other)).IsDone(contentType: null);
        (await AskAsync(known)).IsActive(known);

        wire.Mend();
        wire.Speak();
        await server.IsListeningAsync(() => server.Clock.Advance(Second / 10));
        await Soon.IsAsync("the token is inactive, and never active again", async () =>
        {
            server.Clock.Advance(Second / 10);
            var answer = await AskAsync(known);
            Assert.That(answer.Status, Is.EqualTo(200).Or.EqualTo(503));
            Assert.That(answer.Body, Does.Not.Contain("\"active\":true"));
            return answer.Status == 200;
        });
        (await AskAsync(known)).IsInactive();
    }

    private async Task StartServerAsync(params string[] settings)
    {
        server = await TestServer.StartAsync(
            // A blocked query waits for the test, however slow the test is.
            $"{wire.ConnectionString};Command Timeout=60", new FakeClock(),
            [.. settings, $"Hashing:MemoryKiB={Database.Cheap.MemoryKiB}", $"Hashing:Iterations={Database.Cheap.Iterations}"]);
        await server.IsListeningAsync();
        known = (await TokenRequestBuilder.For(client).SendAsync(server)).Token.EncodedToken;
        unknown = (await TokenRequestBuilder.For(client).SendAsync(server)).Token.EncodedToken;
        (await AskAsync(known)).IsActive(known);
    }

    /// <summary>How long the database has been unavailable.</summary>
    private TimeSpan OutageDuration => server.Clock.GetUtcNow() - outageStart;

    // Returns when the server knows of the outage. The server learns of it from one request that waits for a client and
    // one that waits for a token, each for the longest time allowed.
    private async Task StartOutageAsync(WhileTheDatabaseIsUnavailable.Outage outage)
    {
        outageStart = server.Clock.GetUtcNow();
        if (outage == WhileTheDatabaseIsUnavailable.Outage.Hangs)
            wire.SilenceAll();
        else
            wire.Cut();
        server.Clock.Advance(ChangeNotifications.MaxSilence);
        await Soon.IsAsync(
            "the server does not listen", () => !server.Services.GetRequiredService<ChangeNotifications>().IsListening);
        await SendAndWaitAsync(TokenRequestBuilder.For(client with { Id = "the-first" }));
        await SendAndWaitAsync(TokenRequestBuilder.Introspect(api, known));
    }

    // A request that needs the database waits for it for one second of the server's clock.
    private async Task<Answer> SendAndWaitAsync(TokenRequestBuilder request)
    {
        var answering = request.SendAsync(server);
        await Soon.IsAsync("the request is answered", () =>
        {
            if (!answering.IsCompleted)
                server.Clock.Advance(Second / 10);
            return answering.IsCompleted;
        });
        return await answering;
    }

    private async Task IsUnavailableAsync(string token) =>
        IsUnavailable(await SendAndWaitAsync(TokenRequestBuilder.Introspect(api, token)));

    private static void IsUnavailable(Answer answer) => answer.IsError(
        503, "temporarily_unavailable",
            "The server cannot answer now. Retry-After says when to ask again.", ("Retry-After", "5"));

    private Task<Answer> AskAsync(string token) => TokenRequestBuilder.Introspect(api, token).SendAsync(server);
}
