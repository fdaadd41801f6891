using Dapper;
using TokenService.Revocation;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Rfc7009;

/// <summary>
/// When a token cannot be revoked now, the server says so, and the caller knows that the token is still valid and
/// retries.
/// </summary>
[TestFixture, Rfc(7009, "2.2.1b")]
public sealed class Unavailable
{
    private const string RetryLater = "The server cannot answer now. Ask again later.";

    private const string Fill = """
        insert into token_service.revoked_token (jti, client_id, expires_at)
        select @client || '-' || n, @client, @expiresAt
        from generate_series(1, @count) n
        """;

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
    public async Task A_client_has_at_most_MaxPerClient_revoked_tokens()
    {
        var (first, last, onceMore) = (await IssueAsync(client), await IssueAsync(client), await IssueAsync(client));
        IsRevoked(await RevokeAsync(client, first));
        await FillAsync("billing", RevocationStore.MaxPerClient - 2);
        IsRevoked(await RevokeAsync(client, last));

        IsFull(await RevokeAsync(client, onceMore));
        (await TokenRequestBuilder.Introspect(api, onceMore).SendAsync(server)).IsActive(onceMore);
        Assert.That(
            await database.ReadAsync<int>("select count(*) from token_service.revoked_token"), Is.EqualTo(RevocationStore.MaxPerClient));
        // Tokens already revoked stay revoked, and rubbish needs no row.
        IsRevoked(await RevokeAsync(client, first));
        IsRevoked(await RevokeAsync(client, last));
        IsRevoked(await RevokeAsync(client, "rubbish"));
        (await TokenRequestBuilder.Introspect(api, first).SendAsync(server)).IsInactive();
    }

    [Test]
    public async Task The_limit_of_one_client_does_not_affect_another_client()
    {
        await FillAsync("billing", RevocationStore.MaxPerClient);
        var other = await database.CreateClientAsync("other");

        IsRevoked(await RevokeAsync(other, await IssueAsync(other)));
        IsFull(await RevokeAsync(client, await IssueAsync(client)));
    }

    [Test]
    public async Task Expired_revocations_do_not_count()
    {
        await FillAsync("billing", RevocationStore.MaxPerClient, server.Clock.GetUtcNow());
        IsRevoked(await RevokeAsync(client, await IssueAsync(client)));
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

    private Task FillAsync(string client, int count, DateTimeOffset? expiresAt = null) => database.ExecuteAsync(
        Fill, new { client, count, expiresAt = (expiresAt ?? server.Clock.GetUtcNow() + TimeSpan.FromMinutes(10)).UtcDateTime });

    private async Task<string> IssueAsync(TestClient client) =>
        (await TokenRequestBuilder.For(client).SendAsync(server)).Token.EncodedToken;

    private Task<Answer> RevokeAsync(TestClient client, string token) => TokenRequestBuilder.Revoke(client, token).SendAsync(server);

    private static void IsRevoked(Answer answer) => answer.IsDone(contentType: null);

    private static void IsFull(Answer answer) =>
        answer.IsError(503, "temporarily_unavailable", RetryLater, ("Retry-After", "60"));
}
