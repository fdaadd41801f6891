using System.Buffers.Text;
using System.Net;
using System.Text;
using System.Text.Json;
using Dapper;
using Microsoft.Extensions.DependencyInjection;
using TokenService.Revocation;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Revocation;

/// <summary>The signed list of what is dead before it expires, for APIs that verify tokens offline.</summary>
[TestFixture]
public sealed class ListOfRevokedTokens
{
    private const string List = "/revoked-tokens";

    private static readonly TimeSpan Second = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan Instant = TimeSpan.FromMilliseconds(1);
    // Seconds for which a verifier may take a token after its exp.
    private const int Forgiven = 600;
    private const int MaxTokenLifetime = 86_400;

    private static readonly TimeSpan UntilAskedAgain = TimeSpan.FromSeconds(5);

    private Database database = null!;
    private DatabaseProxy wire = null!;
    private TestServer server = null!;
    private TestClient client = null!;

    [SetUp]
    public async Task StartServer()
    {
        database = await Database.CreateAsync();
        client = await database.CreateClientAsync("billing");
        wire = new DatabaseProxy(database);
        // Whoever is held up waits for the test, however slow it is.
        server = await TestServer.StartAsync($"{wire.ConnectionString};Command Timeout=60", new FakeClock());
        await server.IsListeningAsync();
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

    private long Now => server.Clock.GetUtcNow().ToUnixTimeSeconds();

    [Test]
    public async Task Nothing_is_revoked_in_the_beginning() => await IsAsync($$"""
        {"iss":"http://127.0.0.1:8080","aud":"http://127.0.0.1:8080/revoked-tokens",
         "iat":{{Now}},"exp":{{Now + 300}},"not_before":{},"revoked":[]}
        """);

    // Nothing of it is secret: whoever has no token learns nothing from its jti.
    [Test]
    public async Task Anybody_may_read_it()
    {
        var answer = await server.GetAsync(List, ("Authorization", "Bearer nonsense"));

        using (Assert.EnterMultipleScope())
        {
            Assert.That(answer.Status, Is.EqualTo(200));
            Assert.That(answer.Headers, Is.EquivalentTo(new Dictionary<string, string>
            {
                ["Content-Type"] = "application/revoked-tokens+jwt",
                ["Cache-Control"] = "public, max-age=30",
                ["ETag"] = answer.Headers["ETag"],
            }));
            Assert.That(answer.Headers["ETag"], Does.Match("^\"[A-Za-z0-9_-]{22}\"$"));
        }
    }

    [Test, Rfc(8725, "3.11"), Rfc(8725, "3.3")]
    public async Task It_is_signed_with_a_published_key_and_has_a_type_of_its_own()
    {
        var jwt = await ReadAsync();
        var header = JsonElement.Parse(Base64Url.DecodeFromChars(jwt.Split('.')[0]));
        var key = (await PublishedKey.ReadAllAsync(server)).Single(key => key.Kid == header.GetProperty("kid").GetString());

        using (Assert.EnterMultipleScope())
        {
            Assert.That(header.GetRawText(), Is.EqualTo($$"""{"alg":"ES256","kid":"{{key.Kid}}","typ":"revoked-tokens+jwt"}"""));
            Assert.That(key.Verifies(jwt), Is.True);
        }
    }

    [Test, Rfc(7009, "2.1d")]
    public async Task It_lists_what_is_dead_and_would_otherwise_live_in_order()
    {
        await StoreAsync(("c", 1 - Forgiven), ("a", 600), ("dead", -Forgiven), ("long-dead", -3600), ("b", 86_400));
        await EndAsync(
            ("shipping", 1 - MaxTokenLifetime - Forgiven), ("billing", 0), ("gone", -MaxTokenLifetime - Forgiven), ("long-gone", -100_000), ("new", 5));

        await IsAsync($$"""
            {"iss":"http://127.0.0.1:8080","aud":"http://127.0.0.1:8080/revoked-tokens",
             "iat":{{Now}},"exp":{{Now + 300}},
             "not_before":{"billing":{{Now}},"new":{{Now + 5}},"shipping":{{Now + 1 - MaxTokenLifetime - Forgiven}}},"revoked":["a","b","c"]}
            """);
    }

    [Test]
    public async Task An_instant_with_a_fraction_is_named_by_its_second_whose_tokens_are_all_dead()
    {
        await database.ExecuteAsync(
            "select token_service.end_tokens_of('billing', @at)", new { at = (server.Clock.GetUtcNow() + TimeSpan.FromSeconds(0.9)).UtcDateTime });

        await IsAsync($$"""
            {"iss":"http://127.0.0.1:8080","aud":"http://127.0.0.1:8080/revoked-tokens",
             "iat":{{Now}},"exp":{{Now + 300}},"not_before":{"billing":{{Now}}},"revoked":[]}
            """);
    }

    [Test]
    public async Task A_revocation_is_in_it_until_nobody_takes_its_token_any_more()
    {
        var token = (await TokenRequestBuilder.For(client).SendAsync(server)).Token;
        var expires = Now + 600;
        (await TokenRequestBuilder.Revoke(client, token.EncodedToken).SendAsync(server)).IsDone(contentType: null);
        Assert.That(await RevokedAsync(), Is.EqualTo([token.Id]));

        server.Clock.Advance(TimeSpan.FromSeconds(599 + Forgiven));
        Assert.That(await RevokedAsync(), Is.EqualTo([token.Id]));
        server.Clock.Advance(Second);
        // Whoever reads it has 5 seconds more of it, which does no harm.
        server.Clock.Advance(UntilAskedAgain);
        Assert.That((await RevokedAsync(), Now), Is.EqualTo((Array.Empty<string>(), expires + Forgiven + 5)));
    }

    [Test]
    public async Task A_client_that_is_disabled_is_in_it()
    {
        await database.ExecuteAsync("select token_service.set_client_enabled('billing', false)");
        var at = await database.ReadAsync<long>("select floor(extract(epoch from not_before))::bigint from token_service.tokens_not_before");

        await IsAsync($$"""
            {"iss":"http://127.0.0.1:8080","aud":"http://127.0.0.1:8080/revoked-tokens",
             "iat":{{Now}},"exp":{{Now + 300}},"not_before":{"billing":{{at}}},"revoked":[]}
            """);
    }

    // However many read it, the database is asked every five seconds.
    [Test, Rfc(7009, "2.1c")]
    public async Task A_revocation_is_in_it_after_five_seconds()
    {
        var before = await server.GetAsync(List);
        await StoreAsync(("a", 600));
        AreTheSame(await server.GetAsync(List), before);
        server.Clock.Advance(UntilAskedAgain - Instant);
        AreTheSame(await server.GetAsync(List), before);

        server.Clock.Advance(Instant);
        var after = await server.GetAsync(List);
        Assert.That(Claims(after.Body).GetProperty("revoked").GetRawText(), Is.EqualTo("""["a"]"""));
        Assert.That(after.Headers["ETag"], Is.Not.EqualTo(before.Headers["ETag"]));
    }

    [Test]
    public async Task What_is_unchanged_is_the_same_for_a_minute_and_then_signed_again()
    {
        await StoreAsync(("a", 600));
        var first = await server.GetAsync(List);
        for (var i = 0; i < 11; i++)
        {
            server.Clock.Advance(UntilAskedAgain);
            AreTheSame(await server.GetAsync(List), first);
        }

        server.Clock.Advance(UntilAskedAgain);
        var second = await server.GetAsync(List, ("If-None-Match", first.Headers["ETag"]));
        Assert.That(second.Status, Is.EqualTo(200));
        await IsAsync($$"""
            {"iss":"http://127.0.0.1:8080","aud":"http://127.0.0.1:8080/revoked-tokens",
             "iat":{{Now}},"exp":{{Now + 300}},"not_before":{},"revoked":["a"]}
            """);
    }

    [Test, Rfc(9110, "13.1.2")]
    public async Task Who_has_it_is_told_so_in_a_few_bytes_until_it_changes()
    {
        var etag = (await server.GetAsync(List)).Headers["ETag"];
        var again = await server.GetAsync(List, ("If-None-Match", etag));
        Assert.That((again.Status, again.Body), Is.EqualTo((304, "")));

        await StoreAsync(("a", 600));
        server.Clock.Advance(UntilAskedAgain);
        Assert.That((await server.GetAsync(List, ("If-None-Match", etag))).Status, Is.EqualTo(200));
    }

    // Verifiers that have heard of it could not read what it signed.
    [Test, Rfc(8725, "3.8")]
    public async Task It_is_signed_again_when_its_key_is_withdrawn()
    {
        await StoreAsync(("a", 600));
        var before = await ReadAsync();
        await BadTokens.WithdrawnAsync(database, server, client);
        server.Clock.Advance(UntilAskedAgain);

        var after = await ReadAsync();
        var keys = await PublishedKey.ReadAllAsync(server);
        Assert.That(keys.Any(key => key.Verifies(before)), Is.False);
        Assert.That(keys.Any(key => key.Verifies(after)), Is.True);
        Assert.That(await RevokedAsync(), Is.EqualTo(["a"]));
    }

    // What is read first is read, and the rest waited for, when both change in one transaction.
    [Test]
    public async Task Of_a_change_that_is_committed_meanwhile_all_is_in_it_or_nothing()
    {
        await using var admin = await database.Source.OpenConnectionAsync();
        await admin.ExecuteAsync("begin; lock table token_service.tokens_not_before in access exclusive mode");
        var reading = ReadAsync();
        await Soon.IsAsync("the server waits for it", async () => await database.WaitersForAsync("tokens_not_before") > 0);
        await admin.ExecuteAsync(
            """
            insert into token_service.revoked_token (jti, client_id, expires_at) values ('a', 'billing', @now + interval '10 minutes');
            select token_service.end_tokens_of('billing', @now);
            commit
            """,
            new { now = server.Clock.GetUtcNow().UtcDateTime });

        Assert.That(Said(await reading), Is.EqualTo(("{}", "[]")));
        server.Clock.Advance(UntilAskedAgain);
        Assert.That(Said(await ReadAsync()), Is.EqualTo(($$"""{"billing":{{Now - 5}}}""", """["a"]""")));

        static (string NotBefore, string Revoked) Said(string jwt) =>
            (Claims(jwt).GetProperty("not_before").GetRawText(), Claims(jwt).GetProperty("revoked").GetRawText());
    }

    [Test]
    public async Task While_the_database_is_away_the_last_one_is_served_as_long_as_it_is_of_use()
    {
        await StoreAsync(("a", 600));
        var last = await server.GetAsync(List);
        wire.Cut();
        server.Clock.Advance(UntilAskedAgain);
        AreTheSame(await server.GetAsync(List), last);
        // Whoever keeps it for 30 seconds still has it alive at their end.
        server.Clock.Advance(TimeSpan.FromSeconds(265) - Instant);
        AreTheSame(await server.GetAsync(List), last);

        server.Clock.Advance(Instant);
        IsUnavailable(await server.GetAsync(List));
        IsUnavailable(await server.GetAsync(List, ("If-None-Match", last.Headers["ETag"])));
    }

    [Test]
    public async Task A_server_that_has_none_says_so_while_the_database_is_away_and_has_one_when_it_is_back()
    {
        wire.Cut();
        IsUnavailable(await server.GetAsync(List));

        wire.Mend();
        await Soon.IsAsync("it is there", async () =>
        {
            server.Clock.Advance(Second);
            return (await server.GetAsync(List)).Status == 200;
        });
    }

    // The clock stands still: whoever waited for the database would wait for ever.
    [Test]
    public async Task While_the_database_hangs_one_asks_now_and_then_and_nobody_waits_for_him()
    {
        var last = await server.GetAsync(List);
        wire.SilenceAll();
        server.Clock.Advance(UntilAskedAgain);
        for (var round = 0; round < 3; round++)
        {
            var asking = Enumerable.Range(0, 5).Select(_ => server.GetAsync(List)).ToList();
            await Soon.IsAsync("all but one are answered", () => asking.Count(one => one.IsCompleted) == 4);
            AreTheSame(await server.GetAsync(List), last);
            Assert.That(asking.Count(one => one.IsCompleted), Is.EqualTo(4));

            // So that his question fails, and the next would hang.
            wire.Cut();
            wire.Mend();
            foreach (var answer in await Task.WhenAll(asking))
                AreTheSame(answer, last);
            AreTheSame(await server.GetAsync(List), last);
            server.Clock.Advance(Second);
        }
    }

    // The last one may be minutes old where readers are few: of two that come at once, the second waits for what the first is told.
    [Test]
    public async Task Nobody_gets_one_that_is_old_because_another_asks()
    {
        await ReadAsync();
        await StoreAsync(("a", 600));
        server.Clock.Advance(UntilAskedAgain + Second);
        wire.SilenceAll();
        // Not by HTTP, which does not say when all have come.
        var list = server.Services.GetRequiredService<RevokedTokensList>();
        var asking = Enumerable.Range(0, 5).Select(_ => list.GetAsync(CancellationToken.None).AsTask()).ToList();

        wire.Speak();
        foreach (var answer in await Task.WhenAll(asking))
        {
            Assert.That(answer.TryGet(out var jwt, out _), Is.True);
            Assert.That(Claims(Encoding.ASCII.GetString(jwt!)).GetProperty("revoked").GetRawText(), Is.EqualTo("""["a"]"""));
        }
    }

    [Test]
    public async Task While_the_database_hangs_one_second_is_waited_for_it()
    {
        var last = await server.GetAsync(List);
        wire.SilenceAll();
        server.Clock.Advance(UntilAskedAgain);
        var asking = server.GetAsync(List);
        await AreAnsweredAsync([asking], whileWaiting: () => server.Clock.Advance(Second / 10));
        AreTheSame(await asking, last);

        await StoreAsync(("a", 600));
        wire.Speak();
        await Soon.IsAsync("what was revoked meanwhile is in it", async () =>
        {
            server.Clock.Advance(Second / 10);
            return Claims((await server.GetAsync(List)).Body).GetProperty("revoked").GetArrayLength() == 1;
        });
    }

    [Test]
    public async Task Every_replica_serves_one()
    {
        await StoreAsync(("a", 600));
        await using var other = await TestServer.StartAsync(database.ConnectionString, server.Clock);
        var (one, another) = (await ReadAsync(), (await other.GetAsync(List)).Body);

        Assert.That(Claims(another).GetRawText(), Is.EqualTo(Claims(one).GetRawText()));
        Assert.That((await PublishedKey.ReadAllAsync(server)).Any(key => key.Verifies(another)), Is.True);
    }

    [TestCase("http://127.0.0.1:8080", "/revoked-tokens")]
    [TestCase("http://127.0.0.1:8080/tenant/a", "/tenant/a/revoked-tokens")]
    [Rfc(8414, "2"), Rfc(8725, "3.9")]
    public async Task The_metadata_says_where_it_is_and_so_does_its_audience(string issuer, string path)
    {
        await using var other = await TestServer.StartAsync(database, $"Issuer={issuer}");
        var metadata = (await other.GetAsync(issuer.Replace(TestServer.Issuer, "/.well-known/oauth-authorization-server", StringComparison.Ordinal))).Json;
        var address = metadata.GetProperty("revoked_tokens_uri").GetString();
        Assert.That(address, Is.EqualTo("http://127.0.0.1:8080" + path));

        var list = Claims((await other.GetAsync(path)).Body);
        Assert.That((list.GetProperty("iss").GetString(), list.GetProperty("aud").GetString()), Is.EqualTo((issuer, address)));
    }

    [Test, Rfc(8725, "3.11"), Rfc(8725, "3.12"), Rfc(9068, "4a")]
    public async Task It_passes_for_an_access_token_nowhere()
    {
        var list = await ReadAsync();
        var api = await database.CreateClientAsync("api");
        await database.ExecuteAsync("insert into token_service.resource_server (client_id, resource) values ('api', 'https://api.example.com')");
        await using var verifier = await ProtectedApi.StartAsync(server);

        (await TokenRequestBuilder.Introspect(api, list).SendAsync(server)).IsInactive();
        (await TokenRequestBuilder.Revoke(client, list).SendAsync(server)).IsDone(contentType: null);
        Assert.That(await database.ReadAsync<int>("select count(*) from token_service.revoked_token"), Is.Zero);
        Assert.That((await verifier.GetAsync($"Bearer {list}")).Status, Is.EqualTo(401));
    }

    [Test]
    public async Task Reading_it_is_no_event_of_the_log()
    {
        await ReadAsync();
        var after = await TokenRequestBuilder.For(client).SendAsync(server);
        await server.Events.OfAsync(after.RequestId);
        Assert.That(server.Events.Lines, Has.Count.EqualTo(1));
    }

    private static Task AreAnsweredAsync(IReadOnlyCollection<Task<Answer>> asking, Action? whileWaiting = null) =>
        Soon.IsAsync("they are answered", () =>
        {
            whileWaiting?.Invoke();
            return asking.All(one => one.IsCompleted);
        });

    private async Task IsAsync(string claims)
    {
        var expected = string.Concat(claims.Where(c => !char.IsWhiteSpace(c)));
        Assert.That(Encoding.UTF8.GetString(Base64Url.DecodeFromChars((await ReadAsync()).Split('.')[1])), Is.EqualTo(expected));
    }

    private async Task<string> ReadAsync()
    {
        var answer = await server.GetAsync(List);
        Assert.That(answer.Status, Is.EqualTo((int)HttpStatusCode.OK), answer.Body);
        return answer.Body;
    }

    private async Task<string[]> RevokedAsync() =>
        [.. Claims(await ReadAsync()).GetProperty("revoked").EnumerateArray().Select(id => id.GetString()!)];

    private static JsonElement Claims(string jwt) => JsonElement.Parse(Base64Url.DecodeFromChars(jwt.Split('.')[1]));

    /// <summary>Revoked tokens, and in how many seconds of the server's clock they expire.</summary>
    private async Task StoreAsync(params (string Id, int Seconds)[] tokens)
    {
        foreach (var (id, seconds) in tokens)
        {
            await database.ExecuteAsync(
                "insert into token_service.revoked_token (jti, client_id, expires_at) values (@id, 'billing', @expiresAt)",
                new { id, expiresAt = server.Clock.GetUtcNow().AddSeconds(seconds).UtcDateTime });
        }
    }

    /// <summary>Clients, and how many seconds of the server's clock from now all tokens of before are dead.</summary>
    private async Task EndAsync(params (string ClientId, int Seconds)[] clients)
    {
        foreach (var (clientId, seconds) in clients)
        {
            await database.ExecuteAsync(
                "select token_service.end_tokens_of(@clientId, @at)",
                new { clientId, at = server.Clock.GetUtcNow().AddSeconds(seconds).UtcDateTime });
        }
    }

    private static void AreTheSame(Answer answer, Answer expected)
    {
        using (Assert.EnterMultipleScope())
        {
            Assert.That((answer.Status, answer.Body), Is.EqualTo((expected.Status, expected.Body)));
            Assert.That(answer.Headers, Is.EquivalentTo(expected.Headers));
        }
    }

    private static void IsUnavailable(Answer answer) => answer.IsError(
        503, "temporarily_unavailable", "The server cannot answer now. Ask again later.", ("Retry-After", "5"));
}
