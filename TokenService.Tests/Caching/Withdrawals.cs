using Microsoft.Extensions.DependencyInjection;
using TokenService.Keys;
using TokenService.Postgres;
using TokenService.Secrets;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Caching;

/// <summary>
/// Two servers that have a client in memory, and a change that both must obey. Their clocks stand still unless a test
/// moves them, so that nothing in memory expires by itself.
/// </summary>
[TestFixture]
public sealed class Withdrawals
{
    private const string NotHeld = "A scope is unknown or not held by this client.";

    // Each change, and the answer that a client with one requested scope then gets.
    private static readonly Withdrawal[] Changes =
    [
        new("secret revoked", "select token_service.revoke_secret(@id, @secretId)", Refused),
        new("secret expired", "update token_service.client_secret set expires_at = now() where id = @secretId", Refused),
        new("secret deleted by hand", "delete from token_service.client_secret where id = @secretId", Refused),
        new("secret given to another client",
            """
            update token_service.client_secret
            set client_id = (select min(id) from token_service.client where id <> @id)
            where id = @secretId
            """,
            Refused),
        new("maximum age", "select token_service.set_policy(p_max_secret_age => '1 day', p_at_once => true)", Refused),
        new("client disabled", "select token_service.set_client_enabled(@id, false)", Refused),
        new("client deleted", "select token_service.set_client_enabled(@id, false), token_service.delete_client(@id)", Refused),
        new("method", "select token_service.update_client(@id, p_methods => '{client_secret_post}')", Refused),
        new("scope revoked", "select token_service.revoke_scope(@id, @scope)", LacksScope),
        new("scope renamed", "update token_service.scope set name = @scope || '-renamed' where name = @scope", LacksScope),
        new("resource renamed",
            "update token_service.resource set id = @resource || '/renamed' where id = @resource",
            answer => Assert.That(answer.Token.Audiences, Has.One.EndsWith("/renamed"))),
        new("lifetime", "select token_service.update_client(@id, p_token_lifetime => '1 minute')",
            answer => Assert.That(answer.Json.GetProperty("expires_in").GetInt32(), Is.EqualTo(60))),
        new("extra claims", """select token_service.update_client(@id, p_extra_claims => '{"tenant": "north"}')""",
            answer => Assert.That(answer.Token.GetPayloadValue<string>("tenant"), Is.EqualTo("north"))),
        // At once, because the clock of the database is behind the servers' here.
        new("signing algorithm", "select token_service.create_resource(@resource, p_signing_alg => 'ES384', p_at_once => true)",
            answer => Assert.That(answer.Token.Alg, Is.EqualTo("ES384"))),
        new("typ", "select token_service.create_resource(@resource, p_typ => 'JWT')",
            answer => Assert.That(answer.Token.Typ, Is.EqualTo("JWT"))),
        new("all scopes truncated", "truncate token_service.client_scope cascade", LacksScope),
        new("all secrets truncated", "truncate token_service.client_secret cascade", Refused),
        new("all clients truncated", "truncate token_service.client cascade", Refused),
    ];

    private static readonly TimeSpan Second = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan Instant = TimeSpan.FromMilliseconds(1);

    private readonly FakeClock clock = new();
    private Database database = null!;
    private DatabaseProxy wire = null!;
    private TestServer[] servers = null!;
    private TestClient client = null!;
    private int number;

    [OneTimeSetUp]
    public async Task StartServers()
    {
        database = await Database.CreateAsync();
        wire = new DatabaseProxy(database);
        servers = [await TestServer.StartAsync(wire.ConnectionString, clock), await TestServer.StartAsync(wire.ConnectionString, clock)];

        await database.CreateClientAsync("other");
        // The change to another signing algorithm needs a key of that algorithm that already signs.
        await database.ExecuteAsync("select token_service.create_resource('https://parcels.example.com', '{}', 'ES384')");
        await StepAsync();
        clock.Advance(servers[0].Services.GetRequiredService<SigningKeys>().Ring.Keys
            .First(key => key.Algorithm == "ES384").SignsFrom - clock.GetUtcNow());
        await StepAsync();
    }

    [OneTimeTearDown]
    public async Task StopServers()
    {
        foreach (var server in servers ?? [])
            await server.DisposeAsync();
        wire?.Dispose();
        await (database?.DisposeAsync() ?? ValueTask.CompletedTask);
    }

    [SetUp]
    public async Task PutClientInMemory()
    {
        wire.Speak();
        await database.ExecuteAsync(
            """
            alter table token_service.client enable trigger client_notify;
            alter table token_service.tokens_not_before enable trigger tokens_not_before_notify
            """);
        await database.ExecuteAsync("select token_service.set_policy(p_max_secret_age => '0')");
        number++;
        client = await database.CreateClientAsync($"client-{number}", $"read-{number} write-{number}", $"read-{number}", Resource);
        // The secret is old enough for a maximum age to end it.
        await database.ExecuteAsync(
            "update token_service.client_secret set created_at = now() - interval '2 days' where client_id = @Id",
            client);

        foreach (var server in servers)
        {
            await server.IsListeningAsync(() => clock.Advance(Second));
            await server.HasReceivedNotificationsAsync();
        }

        await EachAsync(Granted);
    }

    [TestCaseSource(nameof(Kinds))]
    public async Task Every_server_obeys_a_notification_at_once(string kind)
    {
        var withdrawal = Changes.Single(change => change.Kind == kind);
        await DoAsync(withdrawal.Sql);
        await HaveReceivedNotificationsAsync();

        await EachAsync(withdrawal.IsObeyed);
    }

    // The link drops packets without an error, so the server can notice nothing until the next heartbeat is due.
    [TestCaseSource(nameof(Kinds))]
    public async Task Every_server_obeys_three_seconds_after_its_link_falls_silent(string kind)
    {
        var withdrawal = Changes.Single(change => change.Kind == kind);
        wire.SilenceListeners();
        await DoAsync(withdrawal.Sql);
        clock.Advance(Second - Instant);
        await EachAsync(Granted);

        clock.Advance(2 * Second + Instant);
        await EachAsync(withdrawal.IsObeyed);
    }

    [Test]
    public async Task A_server_that_does_not_listen_knows_a_client_for_a_second()
    {
        wire.SilenceListeners();
        clock.Advance(4 * Second);
        await EachAsync(Granted);

        await DoAsync("select token_service.set_client_enabled(@id, false)");
        clock.Advance(Second - Instant);
        await EachAsync(Granted);

        clock.Advance(Instant);
        await EachAsync(Refused);
    }

    [Test]
    public async Task A_server_that_listens_again_has_emptied_its_cache()
    {
        await DisableNotificationsAsync();
        await CutListenersAsync();

        // A server that does not listen might miss a change of what it reads now.
        await EachAsync(Granted);
        await DoAsync("select token_service.set_client_enabled(@id, false)");
        foreach (var server in servers)
            await server.IsListeningAsync(() => clock.Advance(Second / 10));

        await EachAsync(Refused);
    }

    [Test]
    public async Task A_server_behind_a_pooler_in_transaction_mode_detects_that_it_does_not_listen()
    {
        using var pooler = new DatabaseProxy(database);
        pooler.LendByTransaction();
        await using var server = await TestServer.StartAsync(pooler.ConnectionString, clock);
        await Soon.IsAsync("the warning is logged", () =>
        {
            clock.Advance(Second / 10);
            return server.Log.Lines.Any(line => line.Contains("a pooler in front of the database must be in session mode"));
        });
        Granted(await TokenRequestBuilder.For(client).WithScope(Scope).SendAsync(server));

        await DoAsync("select token_service.set_client_enabled(@id, false)");
        clock.Advance(Second);
        Refused(await TokenRequestBuilder.For(client).WithScope(Scope).SendAsync(server));
        Assert.That(IsListening(server), Is.False);
    }

    [Test]
    public async Task A_change_without_a_notification_is_obeyed_after_ten_minutes()
    {
        await DisableNotificationsAsync();
        var readAt = clock.GetUtcNow();
        await DoAsync("select token_service.set_client_enabled(@id, false)");

        // The clock moves slowly, so that the heartbeat keeps up.
        var end = readAt + TimeSpan.FromMinutes(10);
        while (clock.GetUtcNow() < end - (2 * Second))
        {
            clock.Advance(2 * Second);
            var looks = 0;
            await Soon.IsAsync("the servers have had a heartbeat", () =>
            {
                // The heartbeat may not have been due yet; a little later it is.
                if (++looks % 100 == 0)
                    clock.Advance(Second / 10);
                return servers.All(HasRecentHeartbeat);
            });
        }

        clock.Advance(end - clock.GetUtcNow() - Instant);
        await EachAsync(Granted);
        clock.Advance(Instant);
        await EachAsync(Refused);
    }

    private static IEnumerable<string> Kinds() => Changes.Select(change => change.Kind);

    private void Granted(Answer answer) => answer.IsGrant(Scope);

    private static void Refused(Answer answer) => answer.IsInvalidClient();

    private static void LacksScope(Answer answer) => answer.IsError(400, "invalid_scope", NotHeld);

    private Task DoAsync(string sql) => database.ExecuteAsync(
        sql, new { id = client.Id, secretId = SecretId, scope = Scope, resource = Resource });

    private string Scope => $"write-{number}";

    private string Resource => $"https://{number}.example.com";

    private string SecretId => GeneratedSecret.TryParse(client.Secret, out var secret) ? secret.Selector : "";

    private async Task EachAsync(Action<Answer> isAsExpected)
    {
        foreach (var server in servers)
            isAsExpected(await TokenRequestBuilder.For(client).WithScope(Scope).SendAsync(server));
    }

    private async Task HaveReceivedNotificationsAsync()
    {
        foreach (var server in servers)
            await server.HasReceivedNotificationsAsync();
    }

    private async Task StepAsync()
    {
        foreach (var server in servers)
            await server.Services.GetRequiredService<KeyRotation>().StepAsync(CancellationToken.None);
    }

    // Lasts until the next test. Disabling a client sends two notifications, because it also ends the client's tokens.
    private Task DisableNotificationsAsync() => database.ExecuteAsync(
        """
        alter table token_service.client disable trigger client_notify;
        alter table token_service.tokens_not_before disable trigger tokens_not_before_notify
        """);

    private async Task CutListenersAsync()
    {
        await database.ExecuteAsync(
            """
            select pg_terminate_backend(pid) from pg_stat_activity
            where datname = current_database()
              and application_name = 'TokenService'
              and query in ('listen token_service', 'select 1')
            """);
        await Soon.IsAsync("the servers know that they do not listen", () => !servers.Any(IsListening));
    }

    private static bool HasRecentHeartbeat(TestServer server) =>
        server.Services.GetRequiredService<ChangeNotifications>().SilentFor <= Second;

    private static bool IsListening(TestServer server) =>
        server.Services.GetRequiredService<ChangeNotifications>().IsListening;

    /// <summary>
    /// A change that withdraws or changes what a client gets, and the answer that the client then gets.
    /// </summary>
    /// <param name="Kind">The name of the change in the test output.</param>
    /// <param name="Sql">Changes @id, which has @secretId and @scope of @resource.</param>
    /// <param name="IsObeyed">Asserts that the answer obeys the change.</param>
    private sealed record Withdrawal(string Kind, string Sql, Action<Answer> IsObeyed);
}
