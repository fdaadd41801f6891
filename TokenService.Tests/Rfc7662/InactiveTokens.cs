using TokenService.Tests.Harness;

namespace TokenService.Tests.Rfc7662;

/// <summary>Every inactive token gets the same answer, so that the answer does not reveal the reason.</summary>
[TestFixture, Rfc(7662, "2.2"), Rfc(7662, "2.2b"), Rfc(7662, "4"), Rfc(7662, "4a")]
public sealed class InactiveTokens : IntrospectionFixture
{
    private static readonly TimeSpan Instant = TimeSpan.FromMilliseconds(1);

    private BadTokens badTokens = null!;
    private int number;

    [OneTimeSetUp]
    public async Task MakeBadTokens() => badTokens = await BadTokens.MakeAsync(Server, await IssueAsync());

    // The control: a forgery signed with the real key is active, so each refusal below is due to its flaw alone.
    [Test]
    public async Task A_forgery_without_a_flaw_is_active()
    {
        var forged = new Forgery(await IssueAsync()).SignedBy(await Forgery.KeyOfAsync(Server));

        (await IntrospectAsync(forged)).IsActive(forged);
    }

    [TestCaseSource(nameof(Bad))]
    [Rfc(7662, "2.3b")]
    public async Task A_bad_token_is_inactive(string name)
    {
        var bad = badTokens[name];

        var answer = await IntrospectAsync(bad.Token);

        // The limit on the size of a body applies before the token is read.
        if (bad.Token.Length > 16_000)
            answer.IsError(413, "invalid_request", "The body is larger than 16 KiB.", ("Connection", "close"));
        else
            answer.IsInactive();
    }

    [TestCase(13 * 1024)]
    [TestCase(13 * 1024 + 1)]
    [TestCase(16_000)]
    [Rfc(7662, "2.3b")]
    public async Task Rubbish_that_fits_into_a_form_is_inactive(int length)
    {
        (await IntrospectAsync(new string('x', length))).IsInactive();
        (await IntrospectAsync(new string('.', length))).IsInactive();
    }

    [TestCase("\0")]
    [TestCase(" ")]
    [TestCase("é.ü.😀")]
    [TestCase("a.b.c&active=true")]
    [TestCase("{\"active\":true}")]
    [TestCase("null")]
    [Rfc(7662, "2.3b")]
    public async Task Text_that_does_not_resemble_a_token_is_inactive(string token) =>
        (await IntrospectAsync(token)).IsInactive();

    [Test, Rfc(7662, "2.3b")]
    public async Task An_active_token_with_text_around_it_is_inactive(
        [Values(" {0}", "{0} ", "{0}\n", "Bearer {0}", "{0},{0}")] string format)
    {
        var token = await IssueAsync();

        (await IntrospectAsync(format.Replace("{0}", token, StringComparison.Ordinal))).IsInactive();
    }

    [Test]
    public async Task A_token_is_active_until_its_exp_and_inactive_from_then_on()
    {
        var token = await IssueAsync();
        Server.Clock.Advance(TimeSpan.FromMinutes(10) - Instant);
        (await IntrospectAsync(token)).IsActive(token);

        Server.Clock.Advance(Instant);

        (await IntrospectAsync(token)).IsInactive();
    }

    [Test]
    public async Task A_token_with_an_nbf_is_inactive_until_that_time()
    {
        var begins = Server.Clock.GetUtcNow() + TimeSpan.FromSeconds(30);
        var token = new Forgery(await IssueAsync()).WithClaim("nbf", begins.ToUnixTimeSeconds()).SignedBy(await Forgery.KeyOfAsync(Server));
        Server.Clock.Advance(begins - Server.Clock.GetUtcNow() - Instant);
        (await IntrospectAsync(token)).IsInactive();

        Server.Clock.Advance(Instant);

        (await IntrospectAsync(token)).IsActive(token);
    }

    [Test, Rfc(8725, "3.9"), Rfc(9701, "5c")]
    public async Task A_token_for_a_resource_the_caller_does_not_speak_for_is_inactive()
    {
        var ledger = await Database.CreateClientAsync("ledger-reader", "ledger:read", "ledger:read", "https://ledger.example.com");

        (await IntrospectAsync(await IssueAsync(ledger, "ledger:read"))).IsInactive();
    }

    [Test]
    public async Task A_token_for_a_resource_the_caller_no_longer_speaks_for_is_inactive()
    {
        var (api, token) = (await Database.CreateApiAsync("retired-api", Resource), await IssueAsync());
        await Database.CreateClientAsync("other-reader", "others:read", "others:read", "https://others.example.com");
        await Database.ExecuteAsync("insert into token_service.resource_server values ('retired-api', 'https://others.example.com')");
        await Server.HasReceivedNotificationsAsync();
        (await IntrospectAsync(api, token)).IsActive(token);

        await DoAsync("delete from token_service.resource_server where client_id = 'retired-api' and resource = 'https://api.example.com'");

        (await IntrospectAsync(api, token)).IsInactive();
    }

    [Test]
    public async Task A_token_whose_key_was_withdrawn_is_inactive()
    {
        await using var database = await Database.CreateAsync();
        await using var server = await TestServer.StartAsync(database);
        var client = await database.CreateClientAsync("billing");
        var api = await database.CreateApiAsync("api", Resource);
        var before = (await TokenRequestBuilder.For(client).SendAsync(server)).Token.EncodedToken;
        (await TokenRequestBuilder.Introspect(api, before).SendAsync(server)).IsActive(before);

        var withdrawn = await BadTokens.WithdrawnAsync(database, server, client);

        (await TokenRequestBuilder.Introspect(api, before).SendAsync(server)).IsInactive();
        (await TokenRequestBuilder.Introspect(api, withdrawn).SendAsync(server)).IsInactive();
        var after = (await TokenRequestBuilder.For(client).SendAsync(server)).Token.EncodedToken;
        (await TokenRequestBuilder.Introspect(api, after).SendAsync(server)).IsActive(after);
    }

    [Test]
    public async Task A_token_that_its_client_revoked_is_inactive()
    {
        var (revoked, other) = (await IssueAsync(), await IssueAsync());
        (await IntrospectAsync(revoked)).IsActive(revoked);

        (await TokenRequestBuilder.Revoke(Client, revoked).SendAsync(Server)).IsDone(contentType: null);

        (await IntrospectAsync(revoked)).IsInactive();
        (await IntrospectAsync(other)).IsActive(other);
    }

    [Test]
    public async Task A_token_whose_client_was_disabled_is_inactive()
    {
        var (client, token) = await ActiveAsync();

        await DoAsync("select token_service.set_client_enabled(@Id, false)", client);

        (await IntrospectAsync(token)).IsInactive();
    }

    // The database dates the change by its own clock, so the server's clock must not be ahead of it here.
    [Test]
    public async Task A_token_whose_client_was_disabled_and_enabled_again_stays_inactive()
    {
        await using var server = await TestServer.StartAsync(Database.ConnectionString, new FakeClock(TimeSpan.FromMinutes(-2)));
        var client = await Database.CreateClientAsync($"client-{++number}");
        var token = await ActiveAsync(server, client);

        await Database.ExecuteAsync(
            "select token_service.set_client_enabled(@Id, false), token_service.set_client_enabled(@Id, true)", client);
        await server.HasReceivedNotificationsAsync();

        (await TokenRequestBuilder.Introspect(Api, token).SendAsync(server)).IsInactive();
        server.Clock.Advance(TimeSpan.FromMinutes(2));
        await ActiveAsync(server, client);
        (await TokenRequestBuilder.Introspect(Api, token).SendAsync(server)).IsInactive();
    }

    [Test]
    public async Task A_token_whose_client_was_deleted_is_inactive()
    {
        var (client, token) = await ActiveAsync();

        await DoAsync("select token_service.set_client_enabled(@Id, false), token_service.delete_client(@Id)", client);

        (await IntrospectAsync(token)).IsInactive();
    }

    [Test]
    public async Task A_token_whose_client_was_deleted_and_created_again_stays_inactive()
    {
        await using var server = await TestServer.StartAsync(Database.ConnectionString, new FakeClock(TimeSpan.FromMinutes(-2)));
        var client = await Database.CreateClientAsync($"client-{++number}");
        var token = await ActiveAsync(server, client);

        await Database.ExecuteAsync("select token_service.set_client_enabled(@Id, false), token_service.delete_client(@Id)", client);
        var recreated = await Database.CreateClientAsync(client.Id);
        await server.HasReceivedNotificationsAsync();

        (await TokenRequestBuilder.Introspect(Api, token).SendAsync(server)).IsInactive();
        server.Clock.Advance(TimeSpan.FromMinutes(2));
        await ActiveAsync(server, recreated);
        (await TokenRequestBuilder.Introspect(Api, token).SendAsync(server)).IsInactive();
    }

    [Test]
    public async Task A_token_with_a_scope_its_client_no_longer_holds_is_inactive()
    {
        var client = await Database.CreateClientAsync($"client-{++number}");
        var (reading, both) = (await IssueAsync(client), await IssueAsync(client, "invoices:read invoices:write"));
        (await IntrospectAsync(both)).IsActive(both);

        await DoAsync("select token_service.revoke_scope(@Id, 'invoices:write')", client);

        (await IntrospectAsync(both)).IsInactive();
        (await IntrospectAsync(reading)).IsActive(reading);
    }

    // The scope keeps its name, but is another permission now.
    [Test]
    public async Task A_token_with_a_scope_that_was_moved_to_another_resource_is_inactive()
    {
        await Database.CreateClientAsync("archivist", "archive:read", "archive:read", "https://archive.example.com");
        var client = await Database.CreateClientAsync($"client-{++number}", "moved:read", "moved:read", Resource);
        var token = await IssueAsync(client, "moved:read");
        (await IntrospectAsync(token)).IsActive(token);

        await DoAsync("update token_service.scope set resource = 'https://archive.example.com' where name = 'moved:read'");

        (await IntrospectAsync(token)).IsInactive();
    }

    // iat has whole seconds, so a token issued in the same second as the instant may be from before it.
    [TestCase(-1000, false, Description = "The instant is a second before the token.")]
    [TestCase(-1, false)]
    [TestCase(0, true)]
    [TestCase(400, true)]
    [TestCase(999, true)]
    [TestCase(1000, true, Description = "The instant is a second after the token.")]
    [TestCase(1001, true)]
    public async Task A_token_issued_up_to_the_second_in_which_its_clients_tokens_were_ended_is_inactive(
        int milliseconds, bool isInactive)
    {
        var (client, token) = await ActiveAsync();
        var issuedAt = DateTimeOffset.FromUnixTimeSeconds(Server.Clock.GetUtcNow().ToUnixTimeSeconds());

        await DoAsync(
            "select token_service.end_tokens_of(@Id, @at)", new { client.Id, at = (issuedAt + milliseconds * Instant).UtcDateTime });

        if (isInactive)
            (await IntrospectAsync(token)).IsInactive();
        else
            (await IntrospectAsync(token)).IsActive(token);
    }

    [Test]
    public async Task The_server_issues_no_token_that_would_be_inactive_from_the_start()
    {
        var client = await Database.CreateClientAsync($"client-{++number}");
        Server.Clock.Advance(TimeSpan.FromMilliseconds(1400 - Server.Clock.GetUtcNow().Millisecond));
        await DoAsync("select token_service.end_tokens_of(@Id, @now)", new { client.Id, now = Server.Clock.GetUtcNow().UtcDateTime });

        Server.Clock.Advance(TimeSpan.FromMilliseconds(599));
        (await TokenRequestBuilder.For(client).SendAsync(Server)).IsError(
            503, "temporarily_unavailable",
                "The server cannot answer now. Retry-After says when to ask again.", ("Retry-After", "1"));

        Server.Clock.Advance(Instant);
        var token = await IssueAsync(client);
        (await IntrospectAsync(token)).IsActive(token);
    }

    [Test]
    public async Task Tokens_of_other_clients_stay_active_when_all_tokens_of_one_client_are_revoked()
    {
        var (client, token) = await ActiveAsync();
        var (_, other) = await ActiveAsync();

        await DoAsync("select token_service.end_tokens_of(@Id, @now)", new { client.Id, now = Server.Clock.GetUtcNow().UtcDateTime });

        (await IntrospectAsync(token)).IsInactive();
        (await IntrospectAsync(other)).IsActive(other);
    }

    [Test]
    public async Task A_token_of_another_issuer_with_the_same_database_is_inactive()
    {
        await using var other = await TestServer.StartAsync(Database.ConnectionString, Server.Clock, "Issuer=http://127.0.0.1:8081");
        var token = (await TokenRequestBuilder.For(Client).SendAsync(other)).Token.EncodedToken;

        (await TokenRequestBuilder.Introspect(Api, token).SendAsync(other)).IsActive(token);
        (await IntrospectAsync(token)).IsInactive();
    }

    [Test]
    public async Task A_token_whose_resource_was_renamed_is_inactive()
    {
        var (client, api) = (
            await Database.CreateClientAsync("carrier", "parcels:read", "parcels:read", "https://parcels.example.com"),
            await Database.CreateApiAsync("parcels-api", "https://parcels.example.com"));
        var token = await IssueAsync(client, "parcels:read");
        (await IntrospectAsync(api, token)).IsActive(token);

        await DoAsync(
            "update token_service.resource set id = 'https://mail.example.com' where id = 'https://parcels.example.com'");

        (await IntrospectAsync(api, token)).IsInactive();
        var renamed = await IssueAsync(client, "parcels:read");
        (await IntrospectAsync(api, renamed)).IsActive(renamed);
    }

    private async Task<(TestClient Client, string Token)> ActiveAsync()
    {
        var client = await Database.CreateClientAsync($"client-{++number}");
        return (client, await ActiveAsync(Server, client));
    }

    private async Task<string> ActiveAsync(TestServer server, TestClient client)
    {
        var token = (await TokenRequestBuilder.For(client).SendAsync(server)).Token.EncodedToken;
        (await TokenRequestBuilder.Introspect(Api, token).SendAsync(server)).IsActive(token);
        return token;
    }

    private async Task DoAsync(string sql, object? parameters = null)
    {
        await Database.ExecuteAsync(sql, parameters);
        await Server.HasReceivedNotificationsAsync();
    }

    internal static IEnumerable<TestCaseData> Bad() => BadTokens.CasesWhere(flaw => flaw is not Flaw.PlainType);
}
