using TokenService.Tests.Harness;

namespace TokenService.Tests.Rfc7662;

/// <summary>Which clients may introspect a token, and how.</summary>
[TestFixture, Rfc(7662, "2.1")]
public sealed class IntrospectionRequest : IntrospectionFixture
{
    private const string NoResource = "This client speaks for no resource: an admin has to register it for one.";
    private const string Missing = "The parameter token is missing from the body.";
    private const string Repeated = "A parameter is repeated. Separate several scopes by spaces.";

    // The rate limit on failed attempts is low, so that a test soon reaches it, and hashing is as cheap as possible.
    private protected override string[] Settings => ["Hashing:MemoryKiB=8192", "Hashing:Iterations=1", "Limits:FailuresPerClient=3"];

    private string token = null!;

    [OneTimeSetUp]
    public async Task Issue() => token = await IssueAsync();

    [Test, Rfc(7662, "2a")]
    public async Task A_caller_may_authenticate_in_the_header() => (await IntrospectAsync(token)).IsActive(token);

    [Test, Rfc(7662, "2a")]
    public async Task A_caller_may_authenticate_in_the_body() =>
        (await TokenRequestBuilder.ByPost(Api).About(token, "/introspect").SendAsync(Server)).IsActive(token);

    [Test, Rfc(7662, "2.1a"), Rfc(7662, "2.3a")]
    public async Task An_anonymous_caller_is_refused() =>
        (await TokenRequestBuilder.Anonymous().About(token, "/introspect").SendAsync(Server)).IsInvalidClient();

    [Test, Rfc(7662, "2.1a"), Rfc(7662, "2.3a")]
    public async Task A_caller_that_only_names_itself_is_refused() =>
        (await TokenRequestBuilder.Anonymous().With("client_id", Api.Id).About(token, "/introspect").SendAsync(Server)).IsInvalidClient();

    // RFC 7662 §2.1 lets a server accept a token for authentication. This server does not.
    [Test, Rfc(7662, "2.1a"), Rfc(7662, "2.3a")]
    public async Task A_token_does_not_authenticate_its_bearer() =>
        (await TokenRequestBuilder.Anonymous().WithAuthorization($"Bearer {token}").About(token, "/introspect").SendAsync(Server))
            .IsInvalidClient();

    [Test, Rfc(7662, "2.1a"), Rfc(7662, "2.3a")]
    public async Task A_wrong_secret_is_refused([Values("a guess", "tsvc_damaged")] string secret) =>
        (await IntrospectAsync(Api with { Secret = secret }, token)).IsInvalidClient();

    [Test, Rfc(7662, "2.1a"), Rfc(7662, "2.3a")]
    public async Task Another_clients_secret_is_refused() =>
        (await IntrospectAsync(Api with { Secret = Client.Secret }, token)).IsInvalidClient();

    [Test, Rfc(7662, "2.1a"), Rfc(7662, "2.3a")]
    public async Task An_unknown_caller_is_refused() => (await IntrospectAsync(Api with { Id = "nobody" }, token)).IsInvalidClient();

    [Test, Rfc(7662, "2.1a"), Rfc(7662, "2.3a")]
    public async Task A_disabled_caller_is_refused()
    {
        var api = await Database.CreateApiAsync("disabled-api", Resource);
        (await IntrospectAsync(api, token)).IsActive(token);

        await Database.ExecuteAsync("select token_service.set_client_enabled('disabled-api', false)");
        await Server.HasReceivedNotificationsAsync();

        (await IntrospectAsync(api, token)).IsInvalidClient();
    }

    // Guesses at one client's secret are counted together, no matter at which endpoint they are made.
    [Test, Rfc(7662, "4b"), Rfc(7662, "2.3a")]
    public async Task Guesses_at_a_callers_secret_count_against_its_rate_limit()
    {
        var api = await Database.CreateApiAsync("guessed-at", Resource);
        await Database.AddSecretAsync(api.Id, "a secret of another system");
        await Server.HasReceivedNotificationsAsync();
        for (var i = 0; i < 2; i++)
            (await IntrospectAsync(api with { Secret = $"guess {i}" }, token)).IsInvalidClient();
        (await TokenRequestBuilder.For(api with { Secret = "guess 2" }).SendAsync(Server)).IsInvalidClient();

        (await IntrospectAsync(api with { Secret = "guess 3" }, token)).IsError(
            429, "temporarily_unavailable",
                "Too many failed attempts. Retry-After says when to ask again.", ("Retry-After", "20"));
        (await IntrospectAsync(api, token)).IsActive(token);
    }

    // The refusal does not depend on the token, which may even be the client's own.
    [TestCase("a token of its own")]
    [TestCase("rubbish")]
    [TestCase("")]
    [Rfc(7662, "2.1a"), Rfc(9701, "5c")]
    public async Task A_client_that_speaks_for_no_resource_is_refused(string about) =>
        (await IntrospectAsync(Client, about is "a token of its own" ? token : about))
            .IsError(400, "unauthorized_client", NoResource);

    [Test, Rfc(7662, "2.1c")]
    public async Task A_request_without_a_token_is_refused() =>
        (await TokenRequestBuilder.Introspect(Api, token).Without("token").SendAsync(Server)).IsError(400, "invalid_request", Missing);

    // RFC 6749 §3.2: a parameter without a value counts as omitted.
    [Test, Rfc(7662, "2.1c")]
    public async Task An_empty_token_counts_as_missing() =>
        (await IntrospectAsync("")).IsError(400, "invalid_request", Missing);

    [Test, Rfc(7662, "2.1c"), Rfc(7662, "2a")]
    public async Task A_token_in_the_query_is_not_read() =>
        (await TokenRequestBuilder.Introspect(Api, token).Without("token").WithPath($"/introspect?token={token}").SendAsync(Server))
            .IsError(400, "invalid_request", Missing);

    [TestCase("token", "token")]
    [TestCase("token_type_hint", "access_token")]
    [Rfc(7662, "2.1c")]
    public async Task A_parameter_that_is_repeated_is_refused(string name, string value) =>
        (await TokenRequestBuilder.Introspect(Api, token).With("token_type_hint", "access_token").With(name, value).SendAsync(Server))
            .IsError(400, "invalid_request", Repeated);

    [Test, Rfc(7662, "2.1b")]
    public async Task A_token_type_hint_changes_nothing(
        [Values("access_token", "refresh_token", "pop", "urn:ietf:params:oauth:token-type:jwt", "nothing anybody knows", "")] string hint)
    {
        (await TokenRequestBuilder.Introspect(Api, token).With("token_type_hint", hint).SendAsync(Server)).IsActive(token);
        (await TokenRequestBuilder.Introspect(Api, "rubbish").With("token_type_hint", hint).SendAsync(Server)).IsInactive();
    }

    // RFC 7662 §2.1 lets a server take more parameters, and RFC 6749 §3.2 has it ignore those it does not know.
    [Test]
    public async Task An_unknown_parameter_is_ignored() =>
        (await TokenRequestBuilder.Introspect(Api, token).With("resource_uri", "https://api.example.com/1").SendAsync(Server))
            .IsActive(token);

    [Test, Rfc(7662, "2a")]
    public async Task A_method_other_than_POST_is_refused(
        [Values("GET", "PUT", "DELETE", "PATCH", "OPTIONS")] string method)
    {
        var answer = await TokenRequestBuilder.Introspect(Api, token).WithMethod(new HttpMethod(method))
            .WithPath($"/introspect?token={token}").SendAsync(Server);

        answer.IsError(405, "invalid_request", "This endpoint answers only POST.", ("Allow", "POST"));
        var line = await Server.Events.OfAsync(answer.EventId);
        Assert.That(line.GetRawText(), Does.Not.Contain(token));
        Assert.That(Server.Log.Lines, Has.None.Contains(token));
    }

    [Test, Rfc(7662, "2a")]
    public async Task A_body_that_is_not_a_form_is_refused() =>
        (await TokenRequestBuilder.Introspect(Api, token)
                .WithContentType("application/json").WithBody($$"""{"token":"{{token}}"}""").SendAsync(Server))
            .IsError(415, "invalid_request",
                "The body must have the Content-Type application/x-www-form-urlencoded and no Content-Encoding.");

    [Test, Rfc(7662, "2a")]
    public async Task Plain_HTTP_is_refused_when_the_issuer_is_https()
    {
        await using var server = await TestServer.StartAsync(Database, "Issuer=https://as.example.com");

        (await TokenRequestBuilder.Introspect(Api, token).SendAsync(server))
            .IsError(400, "invalid_request", "This endpoint answers only over TLS.");
    }
}
