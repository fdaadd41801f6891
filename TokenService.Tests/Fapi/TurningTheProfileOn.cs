using Microsoft.IdentityModel.JsonWebTokens;
using TokenService.Protocol;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Fapi;

/// <summary>
/// One database behind a server without the profile and one with it, as when an operator turns it on. The rows of clients
/// and resources ask for what the profile rules out.
/// </summary>
[TestFixture]
public sealed class TurningTheProfileOn
{
    private const string Issuer = "https://as.example.com";

    private Database database = null!;
    private FakeClock clock = null!;
    private TestServer before = null!;
    private TestServer server = null!;
    private TestKey api = null!;

    // By resource: a client and its key.
    private readonly Dictionary<string, TestKey> clients = [];

    [OneTimeSetUp]
    public async Task StartServers()
    {
        database = await Database.CreateAsync();
        await AddResourceAsync("plain", signingAlgorithm: null, type: null);
        await AddResourceAsync("rs256", "RS256", type: null);
        await AddResourceAsync("es384", "ES384", type: null);
        await AddResourceAsync("ps256", "PS256", type: null);
        await AddResourceAsync("jwt", signingAlgorithm: null, "JWT");
        api = TestKey.Create();
        await database.CreateClientAsync("api", "callers.read", "callers.read", "https://callers.example.com", "private_key_jwt");
        await database.AddKeyAsync("api", api);
        await database.ExecuteAsync(
            "insert into token_service.resource_server select 'api', id from token_service.resource where id not like '%callers%'");

        // At the first start the first key of each algorithm signs at once.
        clock = new FakeClock();
        before = await StartAsync("Keys:RsaKeySize=2048");
        server = await StartAsync("Keys:RsaKeySize=2048", "Profile=Fapi2");
    }

    [OneTimeTearDown]
    public async Task StopServers()
    {
        await (server?.DisposeAsync() ?? ValueTask.CompletedTask);
        await (before?.DisposeAsync() ?? ValueTask.CompletedTask);
        await (database?.DisposeAsync() ?? ValueTask.CompletedTask);
    }

    // FAPI 2.0 §5.3.2.1. Neither the client nor the resource asks for a bound token.
    [Test]
    public async Task A_token_that_would_not_be_bound_is_refused()
    {
        (await RequestAsync(before, "plain", isBound: false)).IsGrant("plain.read");

        var answer = await RequestAsync(server, "plain", isBound: false);
        answer.IsError(
            400, "invalid_dpop_proof", "This client's tokens must be bound to a key. Send a DPoP proof (RFC 9449 §5).");
        await HasReasonAsync(answer, Reason.DpopProofMissing);
        (await RequestAsync(server, "plain")).IsGrant("plain.read", tokenType: "DPoP");
    }

    [TestCase("rs256", "signing_alg")]
    [TestCase("es384", "signing_alg")]
    [TestCase("jwt", "typ")]
    public async Task A_resource_whose_tokens_the_profile_rules_out_is_refused(string resource, string column)
    {
        (await RequestAsync(before, resource)).IsGrant($"{resource}.read", tokenType: "DPoP");

        var answer = await RequestAsync(server, resource);
        answer.IsError(
            400, "invalid_target", $"Tokens for this resource have a {column} that the profile of this server rules out.");
        await HasReasonAsync(answer, Reason.ResourceOutsideProfile);
    }

    [Test]
    public async Task A_resource_with_PS256_is_served()
    {
        var answer = await RequestAsync(server, "ps256");

        answer.IsGrant("ps256.read", tokenType: "DPoP");
        Assert.That(answer.Token.Alg, Is.EqualTo("PS256"));
    }

    [TestCase("rs256", Reason.TokenAlgorithmWrong)]
    [TestCase("es384", Reason.TokenAlgorithmWrong)]
    [TestCase("jwt", Reason.TokenOfAnotherType)]
    public async Task A_token_that_the_profile_rules_out_is_inactive(string resource, string reason)
    {
        var token = (await RequestAsync(before, resource)).Token.EncodedToken;

        (await IntrospectAsync(before, token)).IsActive(token, "DPoP");
        var answer = await IntrospectAsync(server, token);
        answer.IsInactive();
        Assert.That((await server.Events.OfAsync(answer.RequestId)).GetProperty("reason").GetString(), Is.EqualTo(reason));
    }

    [TestCase("plain")]
    [TestCase("ps256")]
    public async Task A_token_that_is_not_bound_is_inactive_and_other_tokens_stay_active(string resource)
    {
        var (unbound, bound) = (await RequestAsync(before, resource, isBound: false), await RequestAsync(before, resource));

        var answer = await IntrospectAsync(server, unbound.Token.EncodedToken);
        answer.IsInactive();
        Assert.That((await server.Events.OfAsync(answer.RequestId)).GetProperty("reason").GetString(), Is.EqualTo(Reason.TokenNotBound));
        (await IntrospectAsync(server, bound.Token.EncodedToken)).IsActive(bound.Token.EncodedToken, "DPoP");
    }

    [Test, Rfc(7009, "2.1")]
    public async Task A_client_can_revoke_a_token_that_the_profile_rules_out([Values("plain", "rs256", "jwt")] string resource)
    {
        var token = (await RequestAsync(before, resource, isBound: false)).Token.EncodedToken;

        var revocation = TokenRequestBuilder.ByAssertion(AssertionOf($"client-{resource}", clients[resource])).About(token, "/revoke");
        (await revocation.SendAsync(server)).IsDone(contentType: null);

        await before.HasReceivedNotificationsAsync();
        (await IntrospectAsync(before, token)).IsInactive();
    }

    // RFC 9701 §6.1. The API speaks for resources with RS256, ES384 and PS256, in this order.
    [Test, Rfc(9701, "5")]
    public async Task A_signed_introspection_answer_has_an_algorithm_that_the_profile_allows()
    {
        Assert.That(await AlgorithmOfAnswerAsync(before), Is.EqualTo("ES384").Or.EqualTo("RS256"));

        Assert.That(await AlgorithmOfAnswerAsync(server), Is.EqualTo("PS256"));
    }

    [Test, Rfc(9701, "5")]
    public async Task An_API_whose_only_resource_has_RS256_gets_the_servers_own_algorithm()
    {
        var key = await database.CreateKeyClientAsync("old-api");
        await database.ExecuteAsync("insert into token_service.resource_server values ('old-api', 'https://rs256.example.com')");

        Assert.That(await AlgorithmOfAnswerAsync(before, "old-api", key), Is.EqualTo("RS256"));
        Assert.That(await AlgorithmOfAnswerAsync(server, "old-api", key), Is.EqualTo("ES256"));
    }

    private async Task AddResourceAsync(string name, string? signingAlgorithm, string? type)
    {
        var (id, resource) = ($"client-{name}", $"https://{name}.example.com");
        clients[name] = TestKey.Create();
        await database.CreateClientAsync(id, $"{name}.read", $"{name}.read", resource, "private_key_jwt");
        await database.AddKeyAsync(id, clients[name]);
        await database.ExecuteAsync(
            "update token_service.resource set signing_alg = @signingAlgorithm, typ = coalesce(@type, typ) where id = @resource",
            new { resource, signingAlgorithm, type });
    }

    private Task<TestServer> StartAsync(params string[] settings) => TestServer.StartAsync(
        database.ConnectionString, clock, [.. settings, $"Issuer={Issuer}", "TlsTerminatedUpstream=true"]);

    private Task<Answer> RequestAsync(TestServer at, string resource, bool isBound = true)
    {
        var key = clients[resource];
        var request = TokenRequestBuilder.ByAssertion(AssertionOf($"client-{resource}", key));
        return (isBound ? request.WithHeader("DPoP", SignedJwt.Proof(clock.GetUtcNow(), $"{Issuer}/token", key).Signed()) : request)
            .SendAsync(at);
    }

    private Task<Answer> IntrospectAsync(TestServer at, string token) =>
        TokenRequestBuilder.ByAssertion(AssertionOf("api", api)).About(token, "/introspect").SendAsync(at);

    private Task<string> AlgorithmOfAnswerAsync(TestServer at) => AlgorithmOfAnswerAsync(at, "api", api);

    private async Task<string> AlgorithmOfAnswerAsync(TestServer at, string id, TestKey key)
    {
        const string type = "application/token-introspection+jwt";
        var answer = await TokenRequestBuilder.ByAssertion(AssertionOf(id, key)).About("any", "/introspect")
            .WithHeader("Accept", type).SendAsync(at);
        answer.IsDone(answer.Body, type);
        var jwt = new JsonWebToken(answer.Body);
        Assert.That((await PublishedKey.ReadAllAsync(at)).Single(published => published.Kid == jwt.Kid).Verifies(answer.Body));
        return jwt.Alg;
    }

    private string AssertionOf(string id, TestKey key) => SignedJwt.Assertion(clock.GetUtcNow(), Issuer, id, key).Signed();

    private async Task HasReasonAsync(Answer answer, string reason) => Assert.That(
        (await server.Events.OfAsync(answer.RequestId)).GetProperty("reason").GetString(), Is.EqualTo(reason));
}
