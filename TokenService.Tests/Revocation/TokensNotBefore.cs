using System.Globalization;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Revocation;

/// <summary>
/// All tokens that a client got up to an instant become inactive at once: when an admin says so, and when the client is
/// disabled or deleted.
/// </summary>
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
        await database.ExecuteAsync("select token_service.register_resource_server('api', 'https://api.example.com')");
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
    public async Task Tokens_up_to_the_instant_are_inactive_and_tokens_from_a_second_later_are_active()
    {
        var (old, others) = (await IssueAsync(client), await IssueAsync(other));
        clock.Advance(Second);
        var recent = await IssueAsync(client);
        await AreActiveAsync(old, recent, others);

        await EndAsync(clock.GetUtcNow());
        await AreInactiveAsync(old, recent);
        await AreActiveAsync(others);
        await IsToldToRetryAsync();
        await AreActiveAsync(await IssueAsync(other));

        clock.Advance(Second);
        await AreActiveAsync(await IssueAsync(client), others);
        await AreInactiveAsync(old, recent);
    }

    // iat has no fractions, so a token issued in this second cannot be told from one issued before the instant.
    [TestCase(0.0)]
    [TestCase(0.000001)]
    [TestCase(0.5)]
    [TestCase(0.999999)]
    public async Task All_tokens_issued_in_the_second_of_the_instant_count_as_before_it(double fraction)
    {
        var old = await IssueAsync(client);
        await EndAsync(clock.GetUtcNow() + TimeSpan.FromSeconds(fraction));

        await AreInactiveAsync(old);
        clock.Advance(TimeSpan.FromSeconds(0.999));
        await IsToldToRetryAsync();
        clock.Advance(TimeSpan.FromSeconds(0.001));
        await AreActiveAsync(await IssueAsync(client));
        await AreInactiveAsync(old);
    }

    [TestCase(0.0, "1")]
    [TestCase(0.999999, "1")]
    [TestCase(1.0, "2")]
    [TestCase(90.5, "91")]
    public async Task A_client_whose_token_would_be_inactive_is_told_when_to_retry(double seconds, string retryAfter)
    {
        await EndAsync(clock.GetUtcNow() + TimeSpan.FromSeconds(seconds));
        await IsToldToRetryAsync(retryAfter);

        clock.Advance(TimeSpan.FromSeconds(int.Parse(retryAfter, CultureInfo.InvariantCulture)) - TimeSpan.FromTicks(1));
        await IsToldToRetryAsync();
        clock.Advance(TimeSpan.FromTicks(1));
        await AreActiveAsync(await IssueAsync(client));
    }

    [Test]
    public async Task Tokens_issued_after_the_instant_stay_active()
    {
        var old = await IssueAsync(client);
        clock.Advance(Second);
        var young = await IssueAsync(client);

        await EndAsync(clock.GetUtcNow() - TimeSpan.FromTicks(10));

        await AreInactiveAsync(old);
        await AreActiveAsync(young, await IssueAsync(client));
    }

    [Test]
    public async Task An_earlier_instant_makes_no_token_active_again()
    {
        var old = await IssueAsync(client);
        await EndAsync(clock.GetUtcNow());
        await EndAsync(clock.GetUtcNow() - TimeSpan.FromHours(1));
        await AreInactiveAsync(old);
        await IsToldToRetryAsync();
    }

    [Test]
    public async Task Tokens_of_a_client_that_does_not_exist_yet_can_be_ended()
    {
        await database.ExecuteAsync("select token_service.end_tokens_of('shipping', @now)", new { now = clock.GetUtcNow().UtcDateTime });
        clock.Advance(Second);
        await AreActiveAsync(await IssueAsync(await database.CreateClientAsync("shipping")));
    }

    [Test]
    public async Task A_client_that_was_disabled_and_enabled_again_needs_a_new_token()
    {
        var old = await IssueLongAgoAsync();
        await AreActiveAsync(old);

        await DoAsync("select token_service.set_client_enabled('billing', false)");
        await AreInactiveAsync(old);
        await DoAsync("select token_service.set_client_enabled('billing', true)");
        await AreInactiveAsync(old);
        await AreActiveAsync(await IssueAsync(client));
    }

    // The iat of this token is after the client was disabled. The server's clock is 9 seconds ahead of the database's,
    // less the time that passes before the test disables the client, and disabling covers the following 10 seconds.
    [Test]
    public async Task A_token_issued_before_the_replica_learns_that_its_client_is_disabled_stays_inactive()
    {
        await RestartAsync(-TimeSpan.FromSeconds(51));
        await server.IsListeningAsync();
        await replica.IsListeningAsync();
        await IssueAsync(client);
        await SetNotificationsAsync("disable");
        await database.ExecuteAsync("select token_service.set_client_enabled('billing', false)");
        var late = await IssueAsync(client);

        await SetNotificationsAsync("enable");
        await DoAsync("select token_service.set_client_enabled('billing', true)");
        await AreInactiveAsync(late);
        var wait = await database.ReadAsync<long>(
            "select floor(extract(epoch from not_before))::bigint + 1 - @now from token_service.tokens_not_before",
            new { now = clock.GetUtcNow().ToUnixTimeSeconds() });
        await IsToldToRetryAsync($"{wait}");

        clock.Advance(wait * Second);
        await AreActiveAsync(await IssueAsync(client));
        await AreInactiveAsync(late);
    }

    [Test]
    public async Task A_new_client_does_not_inherit_the_tokens_of_a_deleted_client_with_the_same_id()
    {
        var old = await IssueLongAgoAsync();
        await AreActiveAsync(old);

        await DoAsync("select token_service.set_client_enabled('billing', false), token_service.delete_client('billing')");
        await AreInactiveAsync(old);
        var again = await database.CreateClientAsync("billing");
        await HaveReceivedNotificationsAsync();
        await AreInactiveAsync(old);
        await AreActiveAsync(await IssueAsync(again));
    }

    [Test]
    public async Task A_new_client_does_not_inherit_the_tokens_of_a_client_that_was_deleted_by_hand()
    {
        var old = await IssueLongAgoAsync();
        await DoAsync("delete from token_service.client where id = 'billing'");
        await database.CreateClientAsync("billing");
        await HaveReceivedNotificationsAsync();
        await AreInactiveAsync(old);
    }

    [Test]
    public async Task Any_other_change_of_a_client_leaves_its_tokens_active()
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

    // Issues a token long before the database's current time, by which the database dates disabling and deleting.
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

    /// <param name="offset">How far the servers' clock is ahead of that of other tests.</param>
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

    // Enables or disables the notifications about clients and about the end of their tokens.
    private Task SetNotificationsAsync(string enable) => database.ExecuteAsync(
        $"""
        alter table token_service.client {enable} trigger client_notify;
        alter table token_service.tokens_not_before {enable} trigger tokens_not_before_notify
        """);

    private Task EndAsync(DateTimeOffset at) =>
        DoAsync("select token_service.end_tokens_of('billing', @at)", new { at = at.UtcDateTime });

    private async Task DoAsync(string sql, object? parameters = null)
    {
        await database.ExecuteAsync(sql, parameters);
        await HaveReceivedNotificationsAsync();
    }

    private async Task HaveReceivedNotificationsAsync()
    {
        await server.HasReceivedNotificationsAsync();
        await replica.HasReceivedNotificationsAsync();
    }

    private async Task IsToldToRetryAsync(
        string retryAfter = "1") => (await TokenRequestBuilder.For(client).SendAsync(server))
        .IsError(503, "temporarily_unavailable",
            "The server cannot answer now. Retry-After says when to ask again.", ("Retry-After", retryAfter));

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
