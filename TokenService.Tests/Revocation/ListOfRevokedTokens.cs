using System.Buffers.Text;
using System.Globalization;
using System.Net;
using System.Text;
using System.Text.Json;
using Dapper;
using Microsoft.Extensions.DependencyInjection;
using TokenService.Keys;
using TokenService.Revocation;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Revocation;

/// <summary>
/// The signed list of tokens that are revoked before they expire, for APIs that verify tokens offline.
/// </summary>
[TestFixture]
public sealed class ListOfRevokedTokens
{
    private const string List = "/revoked-tokens";

    private static readonly TimeSpan Second = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan Instant = TimeSpan.FromMilliseconds(1);
    // Seconds for which a verifier may accept a token after its exp.
    private const int MaxClockSkew = 600;
    // The longest lifetime of the key's tokens, as these tests set it.
    private const int MaxTokenLifetime = 7200;

    private static readonly TimeSpan RefreshInterval = TimeSpan.FromSeconds(5);

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
        // A blocked query waits for the test, however slow the test is.
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
    public async Task The_list_is_empty_in_the_beginning() => await IsAsync($$"""
        {"iss":"http://127.0.0.1:8080","aud":"http://127.0.0.1:8080/revoked-tokens",
         "iat":{{Now}},"exp":{{Now + 300}},"not_before":{},"revoked":[]}
        """);

    // The list is not secret: a jti is of no use without its token.
    [Test]
    public async Task The_list_is_public_and_cacheable()
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
                ["X-Content-Type-Options"] = "nosniff",
            }));
            Assert.That(answer.Headers["ETag"], Does.Match("^\"[A-Za-z0-9_-]{22}\"$"));
        }
    }

    [Test, Rfc(8725, "3.11"), Rfc(8725, "3.3")]
    public async Task The_list_is_signed_with_a_published_key_and_has_its_own_type()
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
    public async Task The_list_has_all_revoked_tokens_that_a_verifier_could_still_accept_in_order()
    {
        await database.ExecuteAsync(
            "update token_service.signing_key set max_token_lifetime_seconds = @MaxTokenLifetime", new { MaxTokenLifetime });
        await server.Services.GetRequiredService<SigningKeys>().LoadAsync(CancellationToken.None);
        await StoreAsync(
            ("c", 1 - MaxClockSkew), ("a", 600), ("dead", -MaxClockSkew), ("long-dead", -3600), ("b", 86_400));
        await EndAsync(
            ("shipping", 1 - MaxTokenLifetime - MaxClockSkew), ("billing", 0),
            ("gone", -MaxTokenLifetime - MaxClockSkew), ("long-gone", -100_000), ("new", 5));

        await IsAsync($$"""
            {"iss":"http://127.0.0.1:8080","aud":"http://127.0.0.1:8080/revoked-tokens",
             "iat":{{Now}},"exp":{{Now + 300}},
             "not_before":{"billing":{{Now}},"new":{{Now + 5}},
             "shipping":{{Now + 1 - MaxTokenLifetime - MaxClockSkew}}},"revoked":["a","b","c"]}
            """);
    }

    // 9,200 clients of the longest id that an admin disables at once.
    [Test]
    public async Task A_list_that_would_be_too_long_names_all_clients_at_once()
    {
        await database.ExecuteAsync(
            """
            insert into token_service.revoked_token (jti, client_id, expires_at)
            select lpad(n::text, 22, '0'), 'x', @now + interval '1 hour' from generate_series(1, 2400) n;
            insert into token_service.tokens_not_before
            select lpad(n::text, 255, '<'), @now + n * interval '1 millisecond' from generate_series(1, 9000) n;
            insert into token_service.tokens_not_before
            select lpad(n::text, 255, '<'), @now + interval '10 seconds' from generate_series(9001, 9200) n
            """,
            new { now = server.Clock.GetUtcNow().UtcDateTime });

        var list = await ReadAsync();
        Assert.That(list, Has.Length.InRange(150_000, 165_000));
        var claims = Claims(list);
        Assert.That(claims.GetProperty("revoked").GetArrayLength(), Is.EqualTo(2400));
        var notBefore = claims.GetProperty("not_before").EnumerateObject()
            .ToDictionary(client => client.Name, client => client.Value.GetInt64());
        Assert.That(notBefore["*"], Is.EqualTo(Now + 8), "the latest of those that are not named");
        Assert.That(notBefore.Where(client => client.Key != "*").Select(client => client.Value).Min(), Is.GreaterThanOrEqualTo(Now + 8));
        Assert.That(notBefore[9200.ToString(CultureInfo.InvariantCulture).PadLeft(255, '<')], Is.EqualTo(Now + 10));
        Assert.That(server.Log.Lines, Has.Exactly(1).Contain("too many for the list of revoked tokens"));
    }

    [Test]
    public async Task Single_tokens_that_are_too_many_for_the_list_are_replaced_by_all_tokens_until_now()
    {
        await EndAsync(("other", 5));
        await database.ExecuteAsync(
            """
            insert into token_service.revoked_token (jti, client_id, expires_at)
            select lpad(n::text, 22, '0'), 'x', @now + interval '1 hour' from generate_series(1, 5000) n
            """,
            new { now = server.Clock.GetUtcNow().UtcDateTime });

        await IsAsync($$"""
            {"iss":"http://127.0.0.1:8080","aud":"http://127.0.0.1:8080/revoked-tokens",
             "iat":{{Now}},"exp":{{Now + 300}},"not_before":{"other":{{Now + 5}},"*":{{Now}}},"revoked":[]}
            """);
    }

    // It is sent in parts of 16 KiB.
    [Test]
    public async Task A_long_list_arrives_whole()
    {
        const int count = 3000;
        await database.ExecuteAsync(
            """
            insert into token_service.revoked_token (jti, client_id, expires_at)
            select 'token-' || n, 'billing', @expiresAt from generate_series(1, @count) n
            """,
            new { count, expiresAt = server.Clock.GetUtcNow().AddSeconds(60).UtcDateTime });

        Assert.That(await RevokedAsync(), Is.EquivalentTo(Enumerable.Range(1, count).Select(n => $"token-{n}")));
    }

    [Test]
    public async Task An_instant_with_a_fraction_is_listed_as_the_second_it_falls_in()
    {
        await database.ExecuteAsync(
            "select token_service.end_tokens_of('billing', @at)",
            new { at = (server.Clock.GetUtcNow() + TimeSpan.FromSeconds(0.9)).UtcDateTime });

        await IsAsync($$"""
            {"iss":"http://127.0.0.1:8080","aud":"http://127.0.0.1:8080/revoked-tokens",
             "iat":{{Now}},"exp":{{Now + 300}},"not_before":{"billing":{{Now}}},"revoked":[]}
            """);
    }

    [Test]
    public async Task A_revocation_is_listed_until_no_verifier_accepts_its_token()
    {
        var token = (await TokenRequestBuilder.For(client).SendAsync(server)).Token;
        var expires = Now + 600;
        (await TokenRequestBuilder.Revoke(client, token.EncodedToken).SendAsync(server)).IsDone(contentType: null);
        Assert.That(await RevokedAsync(), Is.EqualTo([token.Id]));

        server.Clock.Advance(TimeSpan.FromSeconds(599 + MaxClockSkew));
        Assert.That(await RevokedAsync(), Is.EqualTo([token.Id]));
        server.Clock.Advance(Second);
        // The server refreshes the list every 5 seconds, so an entry may stay that much longer, which does no harm.
        server.Clock.Advance(RefreshInterval);
        Assert.That((await RevokedAsync(), Now), Is.EqualTo((Array.Empty<string>(), expires + MaxClockSkew + 5)));
    }

    [Test]
    public async Task A_disabled_client_is_listed()
    {
        await database.ExecuteAsync("select token_service.set_client_enabled('billing', false)");
        var at = await database.ReadAsync<long>(
            "select floor(extract(epoch from not_before))::bigint from token_service.tokens_not_before");

        await IsAsync($$"""
            {"iss":"http://127.0.0.1:8080","aud":"http://127.0.0.1:8080/revoked-tokens",
             "iat":{{Now}},"exp":{{Now + 300}},"not_before":{"billing":{{at}}},"revoked":[]}
            """);
    }

    // The server asks the database once in five seconds, however many callers read the list.
    [Test, Rfc(7009, "2.1c")]
    public async Task A_revocation_is_listed_after_five_seconds()
    {
        var before = await server.GetAsync(List);
        await StoreAsync(("a", 600));
        AreTheSame(await server.GetAsync(List), before);
        server.Clock.Advance(RefreshInterval - Instant);
        AreTheSame(await server.GetAsync(List), before);

        server.Clock.Advance(Instant);
        var after = await server.GetAsync(List);
        Assert.That(Claims(after.Body).GetProperty("revoked").GetRawText(), Is.EqualTo("""["a"]"""));
        Assert.That(after.Headers["ETag"], Is.Not.EqualTo(before.Headers["ETag"]));
    }

    [Test]
    public async Task An_unchanged_list_stays_the_same_for_a_minute_and_is_then_signed_again()
    {
        await StoreAsync(("a", 600));
        var first = await server.GetAsync(List);
        for (var i = 0; i < 11; i++)
        {
            server.Clock.Advance(RefreshInterval);
            AreTheSame(await server.GetAsync(List), first);
        }

        server.Clock.Advance(RefreshInterval);
        var second = await server.GetAsync(List, ("If-None-Match", first.Headers["ETag"]));
        Assert.That(second.Status, Is.EqualTo(200));
        await IsAsync($$"""
            {"iss":"http://127.0.0.1:8080","aud":"http://127.0.0.1:8080/revoked-tokens",
             "iat":{{Now}},"exp":{{Now + 300}},"not_before":{},"revoked":["a"]}
            """);
    }

    [Test, Rfc(9110, "13.1.2")]
    public async Task A_request_with_the_current_ETag_gets_304_until_the_list_changes()
    {
        var etag = (await server.GetAsync(List)).Headers["ETag"];
        var again = await server.GetAsync(List, ("If-None-Match", etag));
        Assert.That((again.Status, again.Body), Is.EqualTo((304, "")));

        await StoreAsync(("a", 600));
        server.Clock.Advance(RefreshInterval);
        Assert.That((await server.GetAsync(List, ("If-None-Match", etag))).Status, Is.EqualTo(200));
    }

    // A verifier that knows of the withdrawal refuses a list that the withdrawn key signed.
    [Test, Rfc(8725, "3.8")]
    public async Task The_list_is_signed_again_when_its_key_is_withdrawn()
    {
        await StoreAsync(("a", 600));
        var before = await ReadAsync();
        await BadTokens.WithdrawnAsync(database, server, client);
        server.Clock.Advance(RefreshInterval);

        var after = await ReadAsync();
        var keys = await PublishedKey.ReadAllAsync(server);
        Assert.That(keys.Any(key => key.Verifies(before)), Is.False);
        Assert.That(keys.Any(key => key.Verifies(after)), Is.True);
        Assert.That(await RevokedAsync(), Is.EqualTo(["a"]));
    }

    // The server has read the first table and waits for the second when one transaction changes both.
    [Test]
    public async Task A_change_committed_during_the_read_is_listed_whole_or_not_at_all()
    {
        await using var admin = await database.Source.OpenConnectionAsync();
        await admin.ExecuteAsync("begin; lock table token_service.tokens_not_before in access exclusive mode");
        var reading = ReadAsync();
        await Soon.IsAsync(
            "the server waits for the table", async () => await database.WaitersForAsync("tokens_not_before") > 0);
        await admin.ExecuteAsync(
            """
            insert into token_service.revoked_token (jti, client_id, expires_at) values ('a', 'billing', @now + interval '10 minutes');
            select token_service.end_tokens_of('billing', @now);
            commit
            """,
            new { now = server.Clock.GetUtcNow().UtcDateTime });

        Assert.That(Content(await reading), Is.EqualTo(("{}", "[]")));
        server.Clock.Advance(RefreshInterval);
        Assert.That(Content(await ReadAsync()), Is.EqualTo(($$"""{"billing":{{Now - 5}}}""", """["a"]""")));

        static (string NotBefore, string Revoked) Content(string jwt) =>
            (Claims(jwt).GetProperty("not_before").GetRawText(), Claims(jwt).GetProperty("revoked").GetRawText());
    }

    [Test]
    public async Task The_last_list_is_served_while_the_database_is_unavailable_until_shortly_before_it_expires()
    {
        await StoreAsync(("a", 600));
        var last = await server.GetAsync(List);
        wire.Cut();
        server.Clock.Advance(RefreshInterval);
        AreTheSame(await server.GetAsync(List), last);
        // A verifier that caches the list for 30 seconds never uses an expired one.
        server.Clock.Advance(TimeSpan.FromSeconds(265) - Instant);
        AreTheSame(await server.GetAsync(List), last);

        server.Clock.Advance(Instant);
        IsUnavailable(await server.GetAsync(List));
        IsUnavailable(await server.GetAsync(List, ("If-None-Match", last.Headers["ETag"])));
    }

    [Test]
    public async Task A_server_without_a_list_answers_503_until_the_database_is_available_again()
    {
        wire.Cut();
        IsUnavailable(await server.GetAsync(List));

        wire.Mend();
        await Soon.IsAsync("the list is there", async () =>
        {
            server.Clock.Advance(Second);
            return (await server.GetAsync(List)).Status == 200;
        });
    }

    // The clock stands still, so a request that waited for the database would wait for ever.
    [Test]
    public async Task Only_one_request_waits_for_a_hanging_database_and_the_others_get_the_last_list()
    {
        var last = await server.GetAsync(List);
        wire.SilenceAll();
        server.Clock.Advance(RefreshInterval);
        for (var round = 0; round < 3; round++)
        {
            var asking = Enumerable.Range(0, 5).Select(_ => server.GetAsync(List)).ToList();
            await Soon.IsAsync("all but one are answered", () => asking.Count(one => one.IsCompleted) == 4);
            AreTheSame(await server.GetAsync(List), last);
            Assert.That(asking.Count(one => one.IsCompleted), Is.EqualTo(4));

            // The waiting query fails, and the next query would hang.
            wire.Cut();
            wire.Mend();
            foreach (var answer in await Task.WhenAll(asking))
                AreTheSame(answer, last);
            AreTheSame(await server.GetAsync(List), last);
            server.Clock.Advance(Second);
        }
    }

    // With few readers the last list may be minutes old. A second request then waits for the query of the first instead
    // of getting that list.
    [Test]
    public async Task A_concurrent_request_waits_for_the_refresh_instead_of_getting_an_old_list()
    {
        await ReadAsync();
        await StoreAsync(("a", 600));
        server.Clock.Advance(RefreshInterval + Second);
        wire.SilenceAll();
        // The test calls the list directly, because over HTTP it would not know when all requests have arrived.
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
    public async Task A_request_waits_one_second_for_a_hanging_database()
    {
        var last = await server.GetAsync(List);
        wire.SilenceAll();
        server.Clock.Advance(RefreshInterval);
        var asking = server.GetAsync(List);
        await AreAnsweredAsync([asking], whileWaiting: () => server.Clock.Advance(Second / 10));
        AreTheSame(await asking, last);

        await StoreAsync(("a", 600));
        wire.Speak();
        await Soon.IsAsync("the revocation from during the outage is listed", async () =>
        {
            server.Clock.Advance(Second / 10);
            return Claims((await server.GetAsync(List)).Body).GetProperty("revoked").GetArrayLength() == 1;
        });
    }

    [Test]
    public async Task Every_replica_serves_the_same_list()
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
    public async Task The_address_of_the_list_is_in_the_metadata_and_is_its_audience(string issuer, string path)
    {
        await using var other = await TestServer.StartAsync(database, $"Issuer={issuer}");
        var metadata = await other.GetAsync(
            issuer.Replace(TestServer.Issuer, "/.well-known/oauth-authorization-server", StringComparison.Ordinal));
        var address = metadata.Json.GetProperty("revoked_tokens_uri").GetString();
        Assert.That(address, Is.EqualTo("http://127.0.0.1:8080" + path));

        var list = Claims((await other.GetAsync(path)).Body);
        Assert.That((list.GetProperty("iss").GetString(), list.GetProperty("aud").GetString()), Is.EqualTo((issuer, address)));
    }

    [Test, Rfc(8725, "3.11"), Rfc(8725, "3.12"), Rfc(9068, "4a")]
    public async Task The_list_is_refused_as_an_access_token_everywhere()
    {
        var list = await ReadAsync();
        var api = await database.CreateClientAsync("api");
        await database.ExecuteAsync("select token_service.register_resource_server('api', 'https://api.example.com')");
        await using var verifier = await ProtectedApi.StartAsync(server);

        (await TokenRequestBuilder.Introspect(api, list).SendAsync(server)).IsInactive();
        (await TokenRequestBuilder.Revoke(client, list).SendAsync(server)).IsDone(contentType: null);
        Assert.That(await database.ReadAsync<int>("select count(*) from token_service.revoked_token"), Is.Zero);
        Assert.That((await verifier.GetAsync($"Bearer {list}")).Status, Is.EqualTo(401));
    }

    [Test]
    public async Task Reading_the_list_writes_no_event()
    {
        await ReadAsync();
        var after = await TokenRequestBuilder.For(client).SendAsync(server);
        await server.Events.OfAsync(after.EventId);
        Assert.That(server.Events.Lines, Has.Count.EqualTo(1));
    }

    private static Task AreAnsweredAsync(IReadOnlyCollection<Task<Answer>> asking, Action? whileWaiting = null) =>
        Soon.IsAsync("the requests are answered", () =>
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

    /// <summary>Stores revoked tokens that expire in so many seconds of the server's clock.</summary>
    private async Task StoreAsync(params (string Id, int Seconds)[] tokens)
    {
        foreach (var (id, seconds) in tokens)
        {
            await database.ExecuteAsync(
                "insert into token_service.revoked_token (jti, client_id, expires_at) values (@id, 'billing', @expiresAt)",
                new { id, expiresAt = server.Clock.GetUtcNow().AddSeconds(seconds).UtcDateTime });
        }
    }

    /// <summary>
    /// Ends the tokens of clients that were issued up to so many seconds from now, by the server's clock.
    /// </summary>
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
        503, "temporarily_unavailable",
            "The server cannot answer now. Retry-After says when to ask again.", ("Retry-After", "5"));
}
