using Microsoft.IdentityModel.JsonWebTokens;
using TokenService.Tests.Caching;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Revocation;

/// <summary>
/// Two servers that have an active token in memory, and a change that both must obey when they introspect it. As in
/// <see cref="Withdrawals"/>, their clocks stand still unless a test moves them.
/// </summary>
[TestFixture, Rfc(7662, "4a"), Rfc(7662, "4c")]
public sealed class WithdrawalsOfTokens
{
    // Each change ends @token, which @client got for @resource, for which @api speaks.
    private static readonly Dictionary<string, string> Changes = new()
    {
        ["token revoked"] =
            "insert into token_service.revoked_token (jti, client_id, expires_at) values (@token, @client, @now + interval '10 minutes')",
        ["tokens of client revoked"] = "select token_service.end_tokens_of(@client, @now)",
        ["resource server unregistered"] = "delete from token_service.resource_server where client_id = @api and resource = @resource",
        ["client disabled"] = "select token_service.set_client_enabled(@client, false)",
        ["client deleted"] = "select token_service.set_client_enabled(@client, false), token_service.delete_client(@client)",
        ["all scopes truncated"] = "truncate token_service.client_scope cascade",
        ["scope revoked"] = "select token_service.revoke_scope(@client, @scope)",
        ["scope renamed"] = "update token_service.scope set name = @scope || '-renamed' where name = @scope",
        ["resource renamed"] = "update token_service.resource set id = @resource || '/renamed' where id = @resource",
    };

    private static readonly TimeSpan Second = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan Instant = TimeSpan.FromMilliseconds(1);

    private readonly FakeClock clock = new();
    private Database database = null!;
    private DatabaseProxy wire = null!;
    private TestServer[] servers = null!;
    private TestClient client = null!;
    private TestClient api = null!;
    private string token = null!;
    private string tokenId = null!;
    private int number;

    [OneTimeSetUp]
    public async Task StartServers()
    {
        database = await Database.CreateAsync();
        wire = new DatabaseProxy(database);
        servers = [await TestServer.StartAsync(wire.ConnectionString, clock), await TestServer.StartAsync(wire.ConnectionString, clock)];
        await database.CreateClientAsync("other", "others:read", "others:read", "https://others.example.com");
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
    public async Task PutTokenInMemory()
    {
        wire.Speak();
        number++;
        client = await database.CreateClientAsync($"client-{number}", Scope, Scope, Resource);
        // The API speaks for two resources, so that it may still introspect tokens when it loses one of them.
        api = await database.CreateApiAsync($"api-{number}", Resource, "https://others.example.com");
        foreach (var server in servers)
        {
            await server.IsListeningAsync(() => clock.Advance(Second));
            await server.HasReceivedNotificationsAsync();
        }

        var issued = (await TokenRequestBuilder.For(client).SendAsync(servers[0])).Token;
        (token, tokenId) = (issued.EncodedToken, issued.Id);
        await IsActiveAsync();
    }

    [TestCaseSource(nameof(Kinds))]
    public async Task Every_server_obeys_a_notification_at_once(string kind)
    {
        await DoAsync(kind);
        foreach (var server in servers)
            await server.HasReceivedNotificationsAsync();

        await IsInactiveAsync();
    }

    // The link drops packets without an error, so the server can notice nothing until the next heartbeat is due.
    [TestCaseSource(nameof(Kinds))]
    public async Task Every_server_obeys_three_seconds_after_its_link_falls_silent(string kind)
    {
        wire.SilenceListeners();
        await DoAsync(kind);
        clock.Advance(Second - Instant);
        await IsActiveAsync();

        clock.Advance(2 * Second + Instant);
        await IsInactiveAsync();
    }

    [TestCaseSource(nameof(Kinds))]
    public async Task A_server_that_does_not_listen_obeys_after_a_second(string kind)
    {
        wire.SilenceListeners();
        clock.Advance(4 * Second);
        await IsActiveAsync();

        await DoAsync(kind);
        clock.Advance(Second - Instant);
        await IsActiveAsync();

        clock.Advance(Instant);
        await IsInactiveAsync();
    }

    [Test]
    public async Task A_revocation_at_one_server_reaches_the_other()
    {
        (await TokenRequestBuilder.Revoke(client, token).SendAsync(servers[0])).IsDone(contentType: null);
        await servers[1].HasReceivedNotificationsAsync();

        await IsInactiveAsync();
    }

    [Test]
    public async Task A_server_obeys_its_own_revocation_at_once_even_when_it_does_not_listen()
    {
        wire.SilenceListeners();
        (await TokenRequestBuilder.Revoke(client, token).SendAsync(servers[0])).IsDone(contentType: null);

        (await IntrospectAsync(servers[0])).IsInactive();
        clock.Advance(3 * Second);
        (await IntrospectAsync(servers[1])).IsInactive();
    }

    [Test]
    public async Task A_server_that_listens_again_has_emptied_its_cache()
    {
        wire.SilenceListeners();
        await DoAsync("token revoked");
        wire.Speak();
        foreach (var server in servers)
            await server.HasReceivedNotificationsAsync();

        await IsInactiveAsync();
    }

    [Test]
    public async Task A_withdrawn_key_ends_its_tokens_on_every_server()
    {
        await database.WithdrawKeyAsync(new JsonWebToken(token).Kid, clock.GetUtcNow());

        // The notification makes each server read all keys, in the background.
        await Soon.IsAsync("the token is inactive", async () =>
        {
            foreach (var server in servers)
            {
                if ((await IntrospectAsync(server)).Body != """{"active":false}""")
                    return false;
            }

            return true;
        });
        await IsInactiveAsync();
    }

    private static IEnumerable<string> Kinds() => Changes.Keys.AsEnumerable();

    private string Scope => $"read-{number}";

    private string Resource => $"https://{number}.example.com";

    private Task DoAsync(string kind) => database.ExecuteAsync(
        Changes[kind],
        new { token = tokenId, client = client.Id, api = api.Id, scope = Scope, resource = Resource, now = clock.GetUtcNow().UtcDateTime });

    private async Task IsActiveAsync()
    {
        foreach (var server in servers)
            (await IntrospectAsync(server)).IsActive(token);
    }

    private async Task IsInactiveAsync()
    {
        foreach (var server in servers)
            (await IntrospectAsync(server)).IsInactive();
    }

    private Task<Answer> IntrospectAsync(TestServer server) => TokenRequestBuilder.Introspect(api, token).SendAsync(server);
}
