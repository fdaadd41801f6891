using System.Globalization;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Revocation;

/// <summary>All tokens that a client got up to an instant die at once: when an admin says so, and when the client is disabled or deleted.</summary>
[TestFixture, Rfc(7662, "4a")]
public sealed class TokensNotBefore
{
    private static readonly TimeSpan Second = TimeSpan.FromSeconds(1);

    private FakeClock clock = null!;
    private Database database = null!;
    private TestServer server = null!;
    private TestServer replica = null!;
    private TestClient client = null!;
    private TestClient other = null!;
    private TestClient api = null!;

    [SetUp]
    public async Task StartServers()
    {
        clock = new FakeClock();
        database = await Database.CreateAsync();
        client = await database.CreateClientAsync("billing");
        other = await database.CreateClientAsync("other");
        api = await database.CreateClientAsync("api");
        await database.ExecuteAsync("insert into token_service.resource_server (client_id, resource) values ('api', 'https://api.example.com')");
        server = await TestServer.StartAsync(database.ConnectionString, clock, "Tokens:Lifetime=03:00:00");
        replica = await TestServer.StartAsync(database.ConnectionString, clock, "Tokens:Lifetime=03:00:00");
        await server.IsListeningAsync();
        await replica.IsListeningAsync();
    }

    [TearDown]
    public async Task StopServers()
    {
        await server.DisposeAsync();
        await replica.DisposeAsync();
        await database.DisposeAsync();
    }

    [Test]
    public async Task All_of_before_are_dead_and_what_comes_a_second_later_lives()
    {
        var (old, others) = (await IssueAsync(client), await IssueAsync(other));
        clock.Advance(Second);
        var older = await IssueAsync(client);
        await AreActiveAsync(old, older, others);

        await EndAsync(clock.GetUtcNow());
        await AreInactiveAsync(old, older);
        await AreActiveAsync(others);
        await IsToComeBackAsync();
        await AreActiveAsync(await IssueAsync(other));

        clock.Advance(Second);
        await AreActiveAsync(await IssueAsync(client), others);
        await AreInactiveAsync(old, older);
    }

    // iat has no fractions: a token of this second could not be told from one of before.
    [TestCase(0.0)]
    [TestCase(0.000001)]
    [TestCase(0.5)]
    [TestCase(0.999999)]
    public async Task A_second_is_all_before_or_all_after(double fraction)
    {
        var old = await IssueAsync(client);
        await EndAsync(clock.GetUtcNow() + TimeSpan.FromSeconds(fraction));

        await AreInactiveAsync(old);
        clock.Advance(TimeSpan.FromSeconds(0.999));
        await IsToComeBackAsync();
        clock.Advance(TimeSpan.FromSeconds(0.001));
        await AreActiveAsync(await IssueAsync(client));
        await AreInactiveAsync(old);
    }

    [TestCase(0.0, "1")]
    [TestCase(0.999999, "1")]
    [TestCase(1.0, "2")]
    [TestCase(90.5, "91")]
    public async Task Whoever_would_get_a_dead_token_hears_when_he_will_get_a_good_one(double seconds, string retryAfter)
    {
        await EndAsync(clock.GetUtcNow() + TimeSpan.FromSeconds(seconds));
        await IsToComeBackAsync(retryAfter);

        clock.Advance(TimeSpan.FromSeconds(int.Parse(retryAfter, CultureInfo.InvariantCulture)) - TimeSpan.FromTicks(1));
        await IsToComeBackAsync();
        clock.Advance(TimeSpan.FromTicks(1));
        await AreActiveAsync(await IssueAsync(client));
    }

    [Test]
    public async Task Those_after_the_instant_live_on()
    {
        var old = await IssueAsync(client);
        clock.Advance(Second);
        var young = await IssueAsync(client);

        await EndAsync(clock.GetUtcNow() - TimeSpan.FromTicks(10));

        await AreInactiveAsync(old);
        await AreActiveAsync(young, await IssueAsync(client));
    }

    [Test]
    public async Task An_earlier_instant_brings_nothing_back()
    {
        var old = await IssueAsync(client);
        await EndAsync(clock.GetUtcNow());
        await EndAsync(clock.GetUtcNow() - TimeSpan.FromHours(1));
        await AreInactiveAsync(old);
        await IsToComeBackAsync();
    }

    [Test]
    public async Task A_client_that_nobody_has_yet_made_is_no_trouble()
    {
        await database.ExecuteAsync("select token_service.end_tokens_of('shipping', @now)", new { now = clock.GetUtcNow().UtcDateTime });
        clock.Advance(Second);
        await AreActiveAsync(await IssueAsync(await database.CreateClientAsync("shipping")));
    }

    [Test]
    public async Task A_client_that_was_disabled_and_enabled_again_has_to_ask_anew()
    {
        var old = await IssueLongAgoAsync();
        await AreActiveAsync(old);

        await DoAsync("select token_service.set_client_enabled('billing', false)");
        await AreInactiveAsync(old);
        await DoAsync("select token_service.set_client_enabled('billing', true)");
        await AreInactiveAsync(old);
        await AreActiveAsync(await IssueAsync(client));
    }

    // It has an iat after the client was disabled. The clock is 9 seconds ahead of the database's, less what the test takes until it
    // disables the client: never so far that the token may live.
    [Test]
    public async Task What_a_replica_issues_until_it_hears_that_the_client_is_disabled_is_dead_for_good()
    {
        await RestartAsync(-TimeSpan.FromSeconds(51));
        await server.IsListeningAsync();
        await replica.IsListeningAsync();
        await IssueAsync(client);
        await SetNewsAsync("disable");
        await database.ExecuteAsync("select token_service.set_client_enabled('billing', false)");
        var late = await IssueAsync(client);

        await SetNewsAsync("enable");
        await DoAsync("select token_service.set_client_enabled('billing', true)");
        await AreInactiveAsync(late);
        var wait = await database.ReadAsync<long>(
            "select floor(extract(epoch from not_before))::bigint + 1 - @now from token_service.tokens_not_before",
            new { now = clock.GetUtcNow().ToUnixTimeSeconds() });
        await IsToComeBackAsync($"{wait}");

        clock.Advance(wait * Second);
        await AreActiveAsync(await IssueAsync(client));
        await AreInactiveAsync(late);
    }

    [Test]
    public async Task A_client_of_the_same_id_does_not_inherit_the_tokens_of_one_that_was_deleted()
    {
        var old = await IssueLongAgoAsync();
        await AreActiveAsync(old);

        await DoAsync("select token_service.set_client_enabled('billing', false), token_service.delete_client('billing')");
        await AreInactiveAsync(old);
        var again = await database.CreateClientAsync("billing");
        await HaveHeardAsync();
        await AreInactiveAsync(old);
        await AreActiveAsync(await IssueAsync(again));
    }

    [Test]
    public async Task A_client_deleted_by_hand_leaves_none_behind_either()
    {
        var old = await IssueLongAgoAsync();
        await DoAsync("delete from token_service.client where id = 'billing'");
        await database.CreateClientAsync("billing");
        await HaveHeardAsync();
        await AreInactiveAsync(old);
    }

    [Test]
    public async Task Any_other_change_of_a_client_leaves_its_tokens_alone()
    {
        var old = await IssueLongAgoAsync();
        await DoAsync(
            """
            select token_service.set_client_enabled('billing', true);
            select token_service.update_client('billing', p_name => 'Another name', p_token_lifetime => '1 minute');
            update token_service.client_secret set revoked_at = now() where client_id = 'billing';
            """);
        await AreActiveAsync(old);
    }

    // Long before now as the database tells it, which dates what it does by itself.
    private async Task<string> IssueLongAgoAsync()
    {
        await database.ExecuteAsync("update token_service.client_secret set not_before = now() - interval '1 day'");
        await RestartAsync(-TimeSpan.FromHours(1));
        var old = await IssueAsync(client);
        clock.Advance(TimeSpan.FromHours(1));
        await server.IsListeningAsync(() => clock.Advance(Second));
        await replica.IsListeningAsync(() => clock.Advance(Second));
        return old;
    }

    /// <param name="offset">How far their clock is from that of other tests.</param>
    private async Task RestartAsync(TimeSpan offset)
    {
        await server.DisposeAsync();
        await replica.DisposeAsync();
        clock = new FakeClock(offset);
        server = await TestServer.StartAsync(database.ConnectionString, clock, "Tokens:Lifetime=03:00:00");
        replica = await TestServer.StartAsync(database.ConnectionString, clock, "Tokens:Lifetime=03:00:00");
    }

    private async Task<string> IssueAsync(TestClient client)
    {
        var answer = await TokenRequestBuilder.For(client).SendAsync(server);
        answer.IsGrant("invoices:read", expiresIn: 3 * 60 * 60);
        return answer.Token.EncodedToken;
    }

    // Whether servers hear that a client or the end of its tokens has changed.
    private Task SetNewsAsync(string enable) => database.ExecuteAsync(
        $"""
        alter table token_service.client {enable} trigger client_notify;
        alter table token_service.tokens_not_before {enable} trigger tokens_not_before_notify
        """);

    private Task EndAsync(DateTimeOffset at) => DoAsync("select token_service.end_tokens_of('billing', @at)", new { at = at.UtcDateTime });

    private async Task DoAsync(string sql, object? parameters = null)
    {
        await database.ExecuteAsync(sql, parameters);
        await HaveHeardAsync();
    }

    private async Task HaveHeardAsync()
    {
        await server.HasReceivedNotificationsAsync();
        await replica.HasReceivedNotificationsAsync();
    }

    private async Task IsToComeBackAsync(string retryAfter = "1") => (await TokenRequestBuilder.For(client).SendAsync(server))
        .IsError(503, "temporarily_unavailable", "The server cannot answer now. Ask again later.", ("Retry-After", retryAfter));

    private async Task AreActiveAsync(params string[] tokens)
    {
        foreach (var token in tokens)
        {
            (await TokenRequestBuilder.Introspect(api, token).SendAsync(server)).IsActive(token);
            (await TokenRequestBuilder.Introspect(api, token).SendAsync(replica)).IsActive(token);
        }
    }

    private async Task AreInactiveAsync(params string[] tokens)
    {
        foreach (var token in tokens)
        {
            (await TokenRequestBuilder.Introspect(api, token).SendAsync(server)).IsInactive();
            (await TokenRequestBuilder.Introspect(api, token).SendAsync(replica)).IsInactive();
        }
    }
}
