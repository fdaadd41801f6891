using TokenService.Tests.Harness;

namespace TokenService.Tests.Revocation;

/// <summary>A revoked token in the database, from its revocation until some time after the token has expired.</summary>
[TestFixture, Rfc(7009, "2.1")]
public sealed class RevocationsOfOneToken
{
    private static readonly TimeSpan Second = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan Instant = TimeSpan.FromMilliseconds(1);

    private readonly FakeClock clock = new();
    private Database database = null!;
    private DatabaseProxy wire = null!;
    private TestServer here = null!;
    private TestServer there = null!;
    private TestClient client = null!;
    private TestClient api = null!;

    [SetUp]
    public async Task StartServers()
    {
        database = await Database.CreateAsync();
        client = await database.CreateClientAsync("billing");
        api = await database.CreateClientAsync("api");
        await database.ExecuteAsync("select token_service.register_resource_server('api', 'https://api.example.com')");
        wire = new DatabaseProxy(database);
        here = await TestServer.StartAsync(database.ConnectionString, clock);
        there = await TestServer.StartAsync(wire.ConnectionString, clock);
        await here.IsListeningAsync();
        await there.IsListeningAsync();
    }

    [TearDown]
    public async Task StopServers()
    {
        await here.DisposeAsync();
        wire.Cut();
        await there.DisposeAsync();
        wire.Dispose();
        await database.DisposeAsync();
    }

    [Test]
    public async Task A_revocation_is_stored_with_its_client_and_expiry()
    {
        var token = (await TokenRequestBuilder.For(client).SendAsync(here)).Token;
        await RevokeAsync(token.EncodedToken);

        Assert.That(
            await database.ReadAsync<string>(
                "select concat_ws(' ', jti, client_id, extract(epoch from expires_at)::bigint) from token_service.revoked_token"),
            Is.EqualTo($"{token.Id} billing {clock.GetUtcNow().ToUnixTimeSeconds() + 600}"));
    }

    // The link drops packets without an error, so the server can notice nothing until the next heartbeat is due.
    [Test, Rfc(7009, "2.1c")]
    public async Task A_revocation_is_obeyed_three_seconds_after_the_link_falls_silent()
    {
        var token = await IssueAsync();
        (await IntrospectAsync(there, token)).IsActive(token);
        wire.SilenceListeners();
        await RevokeAsync(token);
        (await IntrospectAsync(here, token)).IsInactive();
        clock.Advance(Second - Instant);
        (await IntrospectAsync(there, token)).IsActive(token);

        clock.Advance(2 * Second + Instant);
        (await IntrospectAsync(there, token)).IsInactive();
    }

    [Test, Rfc(7009, "2.2a")]
    public async Task A_revocation_of_an_expired_token_is_not_stored()
    {
        var token = await IssueAsync();
        var living = await IssueAsync();
        clock.Advance(TimeSpan.FromMinutes(10) - Instant);
        await RevokeAsync(living);
        Assert.That(await StoredAsync(), Is.EqualTo(1));

        clock.Advance(Instant);
        await RevokeAsync(token);
        Assert.That(await StoredAsync(), Is.EqualTo(1));
    }

    // Until then a verifier may accept the expired token, because it allows for clock skew or its clock is wrong.
    [Test]
    public async Task A_revocation_is_deleted_an_hour_after_its_token_has_expired()
    {
        await StoreAsync("long-dead", 1, "1 day");
        await StoreAsync("dead", 1, "61 minutes");
        await StoreAsync("just-dead", 1, "59 minutes");
        await StoreAsync("alive", 1, "-10 minutes");
        await database.ExecuteAsync(
            """
            insert into token_service.self_revocation (client_id, not_before)
            values ('long-gone', now() - interval '26 hours'), ('gone', now() - interval '24 hours')
            """);

        await AMinutePassesUntilAsync("the expired ones are deleted", async () =>
            await ReadAsync("select string_agg(jti, ' ' order by jti) from token_service.revoked_token") == "alive-1 just-dead-1"
            && await ReadAsync("select string_agg(client_id, ' ') from token_service.self_revocation") == "gone");
    }

    [Test]
    public async Task Expired_revocations_are_deleted_a_thousand_at_a_time()
    {
        await StoreAsync("dead", 2_500, "2 hours");
        await StoreAsync("alive", 10, "-10 minutes");
        Assert.That(await database.ReadAsync<int>("select token_service.delete_expired(1000)"), Is.EqualTo(1000));
        Assert.That(await StoredAsync(), Is.EqualTo(1_510));

        await AMinutePassesUntilAsync("the rest is deleted", async () => await StoredAsync() == 10);
    }

    // A row is locked when two replicas delete at the same time, or when an admin has changed it in an open
    // transaction.
    [Test]
    public async Task A_locked_revocation_is_skipped_and_deleted_later()
    {
        await StoreAsync("dead", 3, "2 hours");
        await using (var holder = await database.Source.OpenConnectionAsync())
        await using (var transaction = await holder.BeginTransactionAsync())
        {
            await using var hold = holder.CreateCommand();
            hold.CommandText = "select from token_service.revoked_token where jti = 'dead-2' for update";
            await hold.ExecuteNonQueryAsync();

            await AMinutePassesUntilAsync("the others are deleted", async () => await StoredAsync() == 1);
            Assert.That(await ReadAsync("select jti from token_service.revoked_token"), Is.EqualTo("dead-2"));
        }

        await AMinutePassesUntilAsync("the locked row is deleted too", async () => await StoredAsync() == 0);
    }

    [Test]
    public async Task Expired_revocations_are_deleted_after_a_failed_attempt()
    {
        await StoreAsync("dead", 3, "2 hours");
        await database.ExecuteAsync("alter function token_service.delete_expired(integer) rename to delete_nothing");
        await AMinutePassesUntilAsync("the failure is logged", () => Task.FromResult(here.Log.Lines.Any(
            line => line.StartsWith(
                "Warning TokenService.Revocation.RevocationCleanup: Expired revocations could not be deleted",
                StringComparison.Ordinal))));

        await database.ExecuteAsync("alter function token_service.delete_nothing(integer) rename to delete_expired");
        await AMinutePassesUntilAsync("the expired ones are deleted", async () => await StoredAsync() == 0);
    }

    // The clock moves one minute at a time, so that one of the servers does what is due before more is due.
    private Task AMinutePassesUntilAsync(string what, Func<Task<bool>> isTrue) => Soon.IsAsync(what, async () =>
    {
        clock.Advance(TimeSpan.FromMinutes(1));
        return await isTrue();
    });

    private Task StoreAsync(string name, int count, string expiredFor) => database.ExecuteAsync(
        """
        insert into token_service.revoked_token (jti, client_id, expires_at)
        select @name || '-' || n, 'billing', now() - @expiredFor::interval from generate_series(1, @count) n
        """,
        new { name, count, expiredFor });

    private Task<int> StoredAsync() => database.ReadAsync<int>("select count(*) from token_service.revoked_token");

    private Task<string?> ReadAsync(string sql) => database.ReadAsync<string>(sql);

    private async Task<string> IssueAsync() => (await TokenRequestBuilder.For(client).SendAsync(here)).Token.EncodedToken;

    private async Task RevokeAsync(string token) =>
        (await TokenRequestBuilder.Revoke(client, token).SendAsync(here)).IsDone(contentType: null);

    private Task<Answer> IntrospectAsync(TestServer server, string token) => TokenRequestBuilder.Introspect(api, token).SendAsync(server);
}
