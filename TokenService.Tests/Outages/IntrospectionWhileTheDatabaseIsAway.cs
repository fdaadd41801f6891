using Microsoft.Extensions.DependencyInjection;
using TokenService.Postgres;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Outages;

/// <summary>
/// A token that was asked about, of a client that is known, is answered from memory up to the stated age; of others nobody can say whether
/// they were revoked. The rules are those of <see cref="WhileTheDatabaseIsAway"/>.
/// </summary>
[TestFixture, Rfc(7662, "4a")]
public sealed class IntrospectionWhileTheDatabaseIsAway
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
    private DateTimeOffset wentAt;

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
    public async Task A_known_token_is_answered_up_to_the_stated_age([Values] WhileTheDatabaseIsAway.Trouble trouble)
    {
        await GoAwayAsync(trouble);
        (await AskAsync(known)).IsActive(known);
        server.Clock.Advance(ServeWhileAway - Away - Instant);
        (await AskAsync(known)).IsActive(known);

        // At once, since the database was asked an instant ago: the clock stands still.
        server.Clock.Advance(Instant);
        IsUnavailable(await AskAsync(known));
        IsUnavailable(await AskAsync(known));
    }

    [Test]
    public async Task With_an_age_of_zero_none_is([Values] WhileTheDatabaseIsAway.Trouble trouble)
    {
        await server.DisposeAsync();
        await StartServerAsync("Clients:ServeWhileAway=00:00:00");
        await GoAwayAsync(trouble);
        await IsUnavailableAsync(known);
    }

    [Test]
    public async Task Nobody_says_that_a_token_is_good_that_may_have_been_revoked([Values] WhileTheDatabaseIsAway.Trouble trouble)
    {
        await GoAwayAsync(trouble);
        await IsUnavailableAsync(unknown);
        (await AskAsync(known)).IsActive(known);
    }

    [Test]
    public async Task A_token_of_a_client_that_was_never_read([Values] WhileTheDatabaseIsAway.Trouble trouble)
    {
        await using var other = await TestServer.StartAsync(database.ConnectionString, server.Clock);
        var stranger = await database.CreateClientAsync("stranger");
        var token = (await TokenRequestBuilder.For(stranger).SendAsync(other)).Token.EncodedToken;
        await GoAwayAsync(trouble);

        await IsUnavailableAsync(token);
    }

    [Test]
    public async Task What_needs_no_database_is_answered_without_it([Values] WhileTheDatabaseIsAway.Trouble trouble)
    {
        await GoAwayAsync(trouble);

        (await AskAsync("rubbish")).IsInactive();
        (await AskAsync(new Forgery(known).WithDamagedSignature())).IsInactive();
        var signed = await TokenRequestBuilder.Introspect(api, known)
            .WithHeader("Accept", "application/token-introspection+jwt").SendAsync(server);
        signed.IsDone(signed.Body, "application/token-introspection+jwt");
    }

    [Test]
    public async Task A_token_that_expires_meanwhile_is_inactive([Values] WhileTheDatabaseIsAway.Trouble trouble)
    {
        await database.ExecuteAsync("select token_service.update_client('billing', p_token_lifetime => '1 minute')");
        await server.HasReceivedNotificationsAsync();
        var token = (await TokenRequestBuilder.For(client).SendAsync(server)).Token.EncodedToken;
        (await AskAsync(token)).IsActive(token);
        await GoAwayAsync(trouble);
        (await AskAsync(token)).IsActive(token);

        server.Clock.Advance(TimeSpan.FromMinutes(1) - Away);
        (await AskAsync(token)).IsInactive();
        (await AskAsync(known)).IsActive(known);
    }

    [Test]
    public async Task What_was_inactive_stays_so([Values] WhileTheDatabaseIsAway.Trouble trouble)
    {
        (await TokenRequestBuilder.Revoke(client, unknown).SendAsync(server)).IsDone(contentType: null);
        await server.HasReceivedNotificationsAsync();
        (await AskAsync(unknown)).IsInactive();
        await GoAwayAsync(trouble);

        (await AskAsync(unknown)).IsInactive();
    }

    [Test]
    public async Task Back_again_what_was_revoked_meanwhile_is_inactive([Values] WhileTheDatabaseIsAway.Trouble trouble)
    {
        await GoAwayAsync(trouble);
        (await AskAsync(known)).IsActive(known);
        // By a replica that reaches it.
        await using var other = await TestServer.StartAsync(database.ConnectionString, server.Clock);
        (await TokenRequestBuilder.Revoke(client, known).SendAsync(other)).IsDone(contentType: null);
        (await AskAsync(known)).IsActive(known);

        wire.Mend();
        wire.Speak();
        await server.IsListeningAsync(() => server.Clock.Advance(Second / 10));
        await Soon.IsAsync("it is inactive, and active no more", async () =>
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
            // Whoever is held up waits for the test, however slow it is.
            $"{wire.ConnectionString};Command Timeout=60", new FakeClock(),
            [.. settings, $"Hashing:MemoryKiB={Database.Cheap.MemoryKiB}", $"Hashing:Iterations={Database.Cheap.Iterations}"]);
        await server.IsListeningAsync();
        known = (await TokenRequestBuilder.For(client).SendAsync(server)).Token.EncodedToken;
        unknown = (await TokenRequestBuilder.For(client).SendAsync(server)).Token.EncodedToken;
        (await AskAsync(known)).IsActive(known);
    }

    /// <summary>For how long the database has been away.</summary>
    private TimeSpan Away => server.Clock.GetUtcNow() - wentAt;

    // Until the server knows, which takes one request that waits for a client and one that waits for a token, as long as one may.
    private async Task GoAwayAsync(WhileTheDatabaseIsAway.Trouble trouble)
    {
        wentAt = server.Clock.GetUtcNow();
        if (trouble == WhileTheDatabaseIsAway.Trouble.Hangs)
            wire.SilenceAll();
        else
            wire.Cut();
        server.Clock.Advance(ChangeNotifications.MaxSilence);
        await Soon.IsAsync("the server is deaf", () => !server.Services.GetRequiredService<ChangeNotifications>().IsListening);
        await PatientlyAsync(TokenRequestBuilder.For(client with { Id = "the-first" }));
        await PatientlyAsync(TokenRequestBuilder.Introspect(api, known));
    }

    // Whoever has to ask the database waits for it, for a second of the server's clock.
    private async Task<Answer> PatientlyAsync(TokenRequestBuilder request)
    {
        var answering = request.SendAsync(server);
        await Soon.IsAsync("it is answered", () =>
        {
            if (!answering.IsCompleted)
                server.Clock.Advance(Second / 10);
            return answering.IsCompleted;
        });
        return await answering;
    }

    private async Task IsUnavailableAsync(string token) => IsUnavailable(await PatientlyAsync(TokenRequestBuilder.Introspect(api, token)));

    private static void IsUnavailable(Answer answer) => answer.IsError(
        503, "temporarily_unavailable", "The server cannot answer now. Ask again later.", ("Retry-After", "5"));

    private Task<Answer> AskAsync(string token) => TokenRequestBuilder.Introspect(api, token).SendAsync(server);
}
