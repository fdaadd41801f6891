using TokenService.Secrets;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Rfc7009;

/// <summary>A client may revoke its own tokens, and nearly every authenticated request gets the same answer.</summary>
[TestFixture, Rfc(7009, "2.1"), Rfc(7009, "2.2")]
public sealed class RevocationRequest : ServerFixture
{
    private TestServer other = null!;
    private TestClient api = null!;
    private TestClient stranger = null!;
    private BadTokens badTokens = null!;

    [OneTimeSetUp]
    public async Task StartSecondServer()
    {
        other = await TestServer.StartAsync(Database.ConnectionString, Server.Clock);
        stranger = await Database.CreateClientAsync("stranger");
        api = await Database.CreateClientAsync("api");
        await Database.ExecuteAsync("select token_service.register_resource_server('api', 'https://api.example.com')");
        badTokens = await BadTokens.MakeAsync(Server, await IssueAsync(Client));
        await Server.IsListeningAsync();
        await other.IsListeningAsync();
    }

    [OneTimeTearDown]
    public async Task StopSecondServer() => await (other?.DisposeAsync() ?? ValueTask.CompletedTask);

    [Test, Rfc(7009, "2.1c"), Rfc(7009, "2.1d"), Rfc(7009, "2.2a")]
    public async Task A_token_that_its_client_revokes_is_inactive_on_every_replica()
    {
        var token = await IssueAsync(Client);
        var kept = await IssueAsync(Client);
        // Both servers now have the token in memory as active.
        await IsActiveOnBothAsync(token);

        IsRevoked(await TokenRequestBuilder.Revoke(Client, token).SendAsync(Server));

        (await TokenRequestBuilder.Introspect(api, token).SendAsync(Server)).IsInactive();
        await other.HasReceivedNotificationsAsync();
        (await TokenRequestBuilder.Introspect(api, token).SendAsync(other)).IsInactive();
        await IsActiveOnBothAsync(kept);
    }

    [Test, Rfc(7009, "2.1c")]
    public async Task A_token_can_be_revoked_at_a_replica_that_did_not_issue_it()
    {
        var token = await IssueAsync(Client);

        IsRevoked(await TokenRequestBuilder.Revoke(Client, token).SendAsync(other));

        (await TokenRequestBuilder.Introspect(api, token).SendAsync(other)).IsInactive();
        await Server.HasReceivedNotificationsAsync();
        (await TokenRequestBuilder.Introspect(api, token).SendAsync(Server)).IsInactive();
    }

    [Test, Rfc(7009, "2.1a")]
    public async Task Another_clients_token_stays_active_and_the_answer_does_not_say_so()
    {
        var token = await IssueAsync(Client);
        var stored = await StoredAsync();

        IsRevoked(await TokenRequestBuilder.Revoke(stranger, token).SendAsync(Server));
        IsRevoked(await TokenRequestBuilder.Revoke(api, token).SendAsync(Server));

        await IsActiveOnBothAsync(token);
        Assert.That(await StoredAsync(), Is.EqualTo(stored));
    }

    [Test, Rfc(7009, "2.2a")]
    public async Task Revoking_a_token_again_changes_nothing()
    {
        var token = await IssueAsync(Client);
        IsRevoked(await TokenRequestBuilder.Revoke(Client, token).SendAsync(Server));
        var stored = await StoredAsync();

        IsRevoked(await TokenRequestBuilder.Revoke(Client, token).SendAsync(Server));
        IsRevoked(await TokenRequestBuilder.Revoke(Client, token).SendAsync(other));

        Assert.That(await StoredAsync(), Is.EqualTo(stored));
        (await TokenRequestBuilder.Introspect(api, token).SendAsync(Server)).IsInactive();
    }

    [TestCaseSource(nameof(Small))]
    [Rfc(7009, "2.2a")]
    public async Task A_bad_token_gets_the_same_answer_as_a_good_one_and_is_not_stored(string name)
    {
        var stored = await StoredAsync();

        IsRevoked(await TokenRequestBuilder.Revoke(Client, badTokens[name].Token).SendAsync(Server));

        Assert.That(await StoredAsync(), Is.EqualTo(stored));
    }

    // RFC 7009 §2.2 is about tokens; the limit on the size of a body applies before a token is read.
    [TestCaseSource(nameof(Large))]
    public async Task A_bad_token_too_large_for_a_body_is_refused_unread(string name)
    {
        var stored = await StoredAsync();

        // Without 100-continue the client might still be sending when the server closes the connection, and miss the
        // answer.
        var answer = await TokenRequestBuilder.Revoke(Client, badTokens[name].Token)
            .WithHeader("Expect", "100-continue").SendAsync(Server);

        answer.IsError(413, "invalid_request", "The body is larger than 16 KiB.", ("Connection", "close"));
        Assert.That(await StoredAsync(), Is.EqualTo(stored));
    }

    // The control: a forgery without a flaw is revoked, so the cases above are due to their flaws alone.
    [Test]
    public async Task A_forgery_without_a_flaw_is_revoked()
    {
        using var key = await Forgery.KeyOfAsync(Server);
        var forged = new Forgery(await IssueAsync(Client)).WithClaim("jti", "forged").SignedBy(key);

        IsRevoked(await TokenRequestBuilder.Revoke(Client, forged).SendAsync(Server));

        Assert.That(
            await Database.ReadAsync<string>("select client_id from token_service.revoked_token where jti = 'forged'"),
            Is.EqualTo("billing"));
    }

    [TestCase("access_token")]
    [TestCase("refresh_token")]
    [TestCase("id_token")]
    [TestCase("ACCESS_TOKEN")]
    [TestCase("nonsense")]
    [TestCase("")]
    [TestCase(" ")]
    [TestCase("\0\r\n\uFFFD")]
    [Rfc(7009, "2.1b"), Rfc(7009, "2.2b")]
    public async Task A_token_type_hint_changes_nothing(string hint)
    {
        var token = await IssueAsync(Client);

        IsRevoked(await TokenRequestBuilder.Revoke(Client, token).With("token_type_hint", hint).SendAsync(Server));
        (await TokenRequestBuilder.Introspect(api, token).SendAsync(Server)).IsInactive();
        IsRevoked(await TokenRequestBuilder.Revoke(Client, "rubbish").With("token_type_hint", hint).SendAsync(Server));
    }

    // The server has one kind of token, and that kind can be revoked.
    [Test, Rfc(7009, "2.2.1a")]
    public async Task The_server_never_answers_unsupported_token_type(
        [Values("refresh_token", "urn:example:token")] string hint) =>
        Assert.That(
            (await TokenRequestBuilder.Revoke(Client, await IssueAsync(Client)).With("token_type_hint", hint).SendAsync(Server)).Body,
            Does.Not.Contain("unsupported_token_type"));

    [TestCase("", Description = "RFC 6749 §3.2: a parameter without a value.")]
    [TestCase(null)]
    public async Task A_request_without_a_token_is_refused(string? token)
    {
        var request = TokenRequestBuilder.Revoke(Client, "").Without("token").With("token_type_hint", "access_token");
        (await (token is null ? request : request.With("token", token)).SendAsync(Server))
            .IsError(400, "invalid_request", "The parameter token is missing from the body.");
    }

    [TestCase("Token")]
    [TestCase("access_token")]
    [TestCase("token[]")]
    public async Task A_token_under_another_parameter_name_counts_as_missing(string name) =>
        (await TokenRequestBuilder.Revoke(Client, "").Without("token").With(name, await IssueAsync(Client)).SendAsync(Server))
            .IsError(400, "invalid_request", "The parameter token is missing from the body.");

    [TestCase("token")]
    [TestCase("token_type_hint")]
    [Rfc(6749, "3.2d")]
    public async Task A_repeated_parameter_is_refused_and_nothing_is_revoked(string name)
    {
        var token = await IssueAsync(Client);

        (await TokenRequestBuilder.Revoke(Client, token).Without(name).With(name, token).With(name, token).SendAsync(Server))
            .IsError(400, "invalid_request", "A parameter is repeated. Separate several scopes by spaces.");
        await IsActiveOnBothAsync(token);
    }

    [TestCase("resource", "https://api.example.com")]
    [TestCase("scope", "unheld")]
    [TestCase("grant_type", "password")]
    [TestCase("whatever", "x")]
    [Rfc(6749, "3.2c")]
    public async Task A_parameter_without_meaning_for_a_revocation_is_ignored(string name, string value)
    {
        var token = await IssueAsync(Client);
        IsRevoked(await TokenRequestBuilder.Revoke(Client, token).With(name, value).SendAsync(Server));
        (await TokenRequestBuilder.Introspect(api, token).SendAsync(Server)).IsInactive();
    }

    [Test, Rfc(7009, "2a")]
    public async Task A_client_may_authenticate_in_the_body_as_at_the_token_endpoint()
    {
        var token = await IssueAsync(Client);
        IsRevoked(await TokenRequestBuilder.ByPost(Client).About(token, "/revoke").SendAsync(Server));
        (await TokenRequestBuilder.Introspect(api, token).SendAsync(Server)).IsInactive();
    }

    // The client is authenticated before the token is read, so a valid token and rubbish get the same refusal.
    [Test, Rfc(7009, "2.1a"), Rfc(7009, "2a"), Rfc(7009, "5"), Rfc(6749, "5.2f")]
    public async Task A_caller_that_does_not_authenticate_revokes_nothing(
        [Values] Stranger caller, [Values] bool isRubbish)
    {
        var token = await IssueAsync(Client);
        var request = caller switch
        {
            Stranger.Anonymous => TokenRequestBuilder.Anonymous(),
            Stranger.WithoutSecret => TokenRequestBuilder.Anonymous().With("client_id", Client.Id),
            Stranger.Unknown => TokenRequestBuilder.For(Client with { Id = "unknown" }),
            Stranger.WithWrongSecret => TokenRequestBuilder.For(Client with { Secret = GeneratedSecret.Create().Value }),
            Stranger.WithRubbish => TokenRequestBuilder.For(Client with { Secret = "rubbish" }),
            Stranger.WithTheTokenItself => TokenRequestBuilder.Anonymous().WithAuthorization($"Bearer {token}"),
            _ => throw new ArgumentOutOfRangeException(nameof(caller)),
        };

        (await request.About(isRubbish ? "rubbish" : token, "/revoke").SendAsync(Server)).IsInvalidClient();
        await IsActiveOnBothAsync(token);
    }

    [Test, Rfc(7009, "2.1a")]
    public async Task A_disabled_client_revokes_nothing()
    {
        var client = await Database.CreateClientAsync("disabled");
        var token = await IssueAsync(client);
        await Database.ExecuteAsync("update token_service.client set enabled = false where id = 'disabled'");
        await Server.HasReceivedNotificationsAsync();
        var stored = await StoredAsync();

        (await TokenRequestBuilder.Revoke(client, token).SendAsync(Server)).IsInvalidClient();
        Assert.That(await StoredAsync(), Is.EqualTo(stored));
    }

    [TestCase("GET")]
    [TestCase("PUT")]
    [TestCase("DELETE")]
    [Rfc(7009, "2a"), Rfc(6749, "3.2a")]
    public async Task Another_method_than_POST_is_refused(string method)
    {
        var token = await IssueAsync(Client);
        (await TokenRequestBuilder.Revoke(Client, token).WithMethod(new HttpMethod(method)).SendAsync(Server))
            .IsError(405, "invalid_request", "This endpoint answers only POST.", ("Allow", "POST"));
        await IsActiveOnBothAsync(token);
    }

    // RFC 7009 §2.3 has GET with a callback, for browsers. The server does not offer it, because proxies log addresses.
    [Test, Rfc(7009, "2a")]
    public async Task A_token_in_the_query_is_not_read()
    {
        var token = await IssueAsync(Client);
        var path = $"/revoke?token={token}";

        (await TokenRequestBuilder.For(Client).WithMethod(HttpMethod.Get).WithPath($"{path}&callback=f").SendAsync(Server))
            .IsError(405, "invalid_request", "This endpoint answers only POST.", ("Allow", "POST"));
        (await TokenRequestBuilder.For(Client).WithPath(path).SendAsync(Server))
            .IsError(400, "invalid_request", "The parameter token is missing from the body.");
        (await TokenRequestBuilder.Revoke(Client, token).WithPath($"/revoke?client_secret={Client.Secret}").SendAsync(Server))
            .IsError(400, "invalid_request",
                "Credentials must not be in the query. Send them in the header or the body, and treat these as leaked.");
        await IsActiveOnBothAsync(token);
    }

    [Test, Rfc(7009, "2a"), Rfc(6749, "3.2f")]
    public async Task Another_media_type_is_refused()
    {
        var token = await IssueAsync(Client);
        (await TokenRequestBuilder.Revoke(Client, token)
                .WithContentType("application/json").WithBody($$"""{"token":"{{token}}"}""").SendAsync(Server))
            .IsError(415, "invalid_request",
                "The body must have the Content-Type application/x-www-form-urlencoded and no Content-Encoding.");
    }

    [Test, Rfc(7009, "2a")]
    public async Task A_server_whose_issuer_is_https_takes_revocations_over_TLS_only()
    {
        await using var server = await TestServer.StartAsync(Database, "Issuer=https://as.example.com", "Proxies=127.0.0.1");
        var token = (await TokenRequestBuilder.For(Client).WithHeader("X-Forwarded-Proto", "https").SendAsync(server)).Token.EncodedToken;

        (await TokenRequestBuilder.Revoke(Client, token).SendAsync(server))
            .IsError(400, "invalid_request", "This endpoint answers only over TLS.");
        IsRevoked(await TokenRequestBuilder.Revoke(Client, token).WithHeader("X-Forwarded-Proto", "https").SendAsync(server));
    }

    [Test, Rfc(7009, "5")]
    public async Task Guesses_count_against_the_same_rate_limit_as_at_the_token_endpoint()
    {
        await using var server = await TestServer.StartAsync(
            Database, $"Hashing:MemoryKiB={Database.Cheap.MemoryKiB}",
            $"Hashing:Iterations={Database.Cheap.Iterations}", "Limits:FailuresPerClient=2");
        var guess = stranger with { Secret = "a guess" };

        (await TokenRequestBuilder.Revoke(guess, "rubbish").SendAsync(server)).IsInvalidClient();
        (await TokenRequestBuilder.For(guess).SendAsync(server)).IsInvalidClient();

        (await TokenRequestBuilder.Revoke(guess, "rubbish").SendAsync(server))
            .IsError(429, "temporarily_unavailable",
                "Too many failed attempts. Retry-After says when to ask again.", ("Retry-After", "30"));
        IsRevoked(await TokenRequestBuilder.Revoke(Client, "rubbish").SendAsync(server));
    }

    [Test, Rfc(8414, "2f")]
    public async Task The_revocation_endpoint_is_where_the_metadata_says()
    {
        var metadata = (await Server.GetAsync("/.well-known/oauth-authorization-server")).Json;
        var address = metadata.GetProperty("revocation_endpoint").GetString()!;
        IsRevoked(await TokenRequestBuilder.Revoke(Client, "rubbish").WithPath(new Uri(address).AbsolutePath).SendAsync(Server));
    }

    // "another audience" and "the type of any JWT" are signed by the server and name its client. The API has to refuse
    // them, and the client may revoke them.
    internal static IEnumerable<TestCaseData> Small() =>
        BadTokens.CasesWhere(flaw => flaw is not Flaw.PlainType).Where(bad => Name(bad) != "another audience" && !IsLarge(bad));

    internal static IEnumerable<TestCaseData> Large() => BadTokens.Cases().Where(IsLarge);

    private static bool IsLarge(TestCaseData bad) => Name(bad).Contains("100 kB", StringComparison.Ordinal);

    private static string Name(TestCaseData bad) => (string)bad.Arguments[0]!;

    private async Task<string> IssueAsync(TestClient client) =>
        (await TokenRequestBuilder.For(client).SendAsync(Server)).Token.EncodedToken;

    private Task<int> StoredAsync() => Database.ReadAsync<int>("select count(*) from token_service.revoked_token");

    private async Task IsActiveOnBothAsync(string token)
    {
        (await TokenRequestBuilder.Introspect(api, token).SendAsync(Server)).IsActive(token);
        (await TokenRequestBuilder.Introspect(api, token).SendAsync(other)).IsActive(token);
    }

    private static void IsRevoked(Answer answer) => answer.IsDone(contentType: null);

    /// <summary>The ways in which a caller can fail to be the client.</summary>
    public enum Stranger
    {
        Anonymous,
        WithoutSecret,
        Unknown,
        WithWrongSecret,
        WithRubbish,
        WithTheTokenItself,
    }
}
