using Dapper;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Rfc7009;

/// <summary>
/// When a token cannot be revoked now, the server says so, and the caller knows that the token is still valid and
/// retries.
/// </summary>
[TestFixture, Rfc(7009, "2.2.1b")]
public sealed class Unavailable
{
    private const string RetryLater = "The server cannot answer now. Retry-After says when to ask again.";

    private Database database = null!;
    private DatabaseProxy wire = null!;
    private TestServer server = null!;
    private TestClient client = null!;
    private TestClient api = null!;

    [SetUp]
    public async Task StartServer()
    {
        database = await Database.CreateAsync();
        client = await database.CreateClientAsync("billing");
        api = await database.CreateClientAsync("api");
        await database.ExecuteAsync("select token_service.register_resource_server('api', 'https://api.example.com')");
        wire = new DatabaseProxy(database);
        server = await TestServer.StartAsync(wire.ConnectionString, new FakeClock());
        await server.IsListeningAsync();
    }

    [TearDown]
    public async Task StopServer()
    {
        wire.Cut();
        await server.DisposeAsync();
        wire.Dispose();
        await database.DisposeAsync();
    }

    [Test]
    public async Task A_revocation_is_refused_while_the_list_of_revoked_tokens_is_full()
    {
        await database.ExecuteAsync(
            """
            insert into token_service.revoked_token (jti, client_id, expires_at)
            select lpad(n::text, 22, '0'), 'client-' || n / 100, now() + interval '1 hour' from generate_series(1, 2400) n;
            insert into token_service.self_revocation (client_id, not_before)
            select lpad(n::text, 128, '0'), now() from generate_series(1, 212) n
            """);
        var token = await IssueAsync(client);

        IsFull(await RevokeAsync(client, token));
        (await TokenRequestBuilder.Introspect(api, token).SendAsync(server)).IsActive(token);
        // Rubbish needs no row.
        IsRevoked(await RevokeAsync(client, "rubbish"));
        // An admin's revocation is never refused.
        await database.ExecuteAsync("select token_service.set_client_enabled('billing', false)");
        await server.HasReceivedNotificationsAsync();
        (await TokenRequestBuilder.Introspect(api, token).SendAsync(server)).IsInactive();
    }

    [Test]
    public async Task A_revocation_is_refused_while_the_database_is_unavailable()
    {
        var (token, revoked) = (await IssueAsync(client), await IssueAsync(client));
        IsRevoked(await RevokeAsync(client, revoked));
        (await TokenRequestBuilder.Introspect(api, token).SendAsync(server)).IsActive(token);
        (await TokenRequestBuilder.Introspect(api, revoked).SendAsync(server)).IsInactive();
        wire.Cut();

        (await RevokeAsync(client, token)).IsError(503, "temporarily_unavailable", RetryLater, ("Retry-After", "5"));
        (await RevokeAsync(client, revoked)).IsError(503, "temporarily_unavailable", RetryLater, ("Retry-After", "5"));
        // Rubbish and cached tokens need no database.
        IsRevoked(await RevokeAsync(client, "rubbish"));
        (await TokenRequestBuilder.Introspect(api, token).SendAsync(server)).IsActive(token);
        (await TokenRequestBuilder.Introspect(api, revoked).SendAsync(server)).IsInactive();

        wire.Mend();
        await server.IsListeningAsync(() => server.Clock.Advance(TimeSpan.FromSeconds(0.1)));
        await Soon.IsAsync("the token can be revoked", async () =>
        {
            server.Clock.Advance(TimeSpan.FromSeconds(0.1));
            return (await RevokeAsync(client, token)).Status == 200;
        });
        (await TokenRequestBuilder.Introspect(api, token).SendAsync(server)).IsInactive();
    }

    [Test]
    public async Task Waiting_revocations_leave_connections_for_token_requests()
    {
        await server.DisposeAsync();
        server = await TestServer.StartAsync($"{wire.ConnectionString};Maximum Pool Size=24;Command Timeout=60", new FakeClock());
        await server.IsListeningAsync();
        var tokens = await Task.WhenAll(Enumerable.Range(0, 30).Select(_ => IssueAsync(client)));
        var newcomer = await database.CreateClientAsync("newcomer");
        await using var holder = await database.Source.OpenConnectionAsync();
        await holder.ExecuteAsync("begin; lock table token_service.revoked_token in access exclusive mode");

        var revoking = tokens.Select(token => RevokeAsync(client, token)).ToList();
        await Soon.IsAsync("16 wait for the table", async () => await database.WaitersForAsync("revoked_token") == 16);
        (await TokenRequestBuilder.For(newcomer).SendAsync(server)).IsGrant("invoices:read");
        Assert.That(await database.WaitersForAsync("revoked_token"), Is.EqualTo(16));

        await holder.ExecuteAsync("commit");
        foreach (var answer in await Task.WhenAll(revoking))
            IsRevoked(answer);
    }

    private async Task<string> IssueAsync(TestClient client) =>
        (await TokenRequestBuilder.For(client).SendAsync(server)).Token.EncodedToken;

    private Task<Answer> RevokeAsync(TestClient client, string token) => TokenRequestBuilder.Revoke(client, token).SendAsync(server);

    private static void IsRevoked(Answer answer) => answer.IsDone(contentType: null);

    private static void IsFull(Answer answer) =>
        answer.IsError(503, "temporarily_unavailable", RetryLater, ("Retry-After", "60"));
}
