using System.Text.Json;
using Microsoft.IdentityModel.JsonWebTokens;
using TokenService.Protocol;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Rfc9449;

/// <summary>The tokens that are bound to a key, and those that must be.</summary>
[TestFixture, Rfc(9449, "5")]
public sealed class BoundTokens : ProofFixture
{
    private const string ClientMust = "This client's tokens must be bound to a key. Send a DPoP proof (RFC 9449 §5).";
    private const string ResourceMust = "Tokens for this resource must be bound to a key. Send a DPoP proof (RFC 9449 §5).";

    [Test, Rfc(9449, "5b"), Rfc(9449, "5c"), Rfc(9449, "6")]
    public async Task A_proof_binds_the_token_to_its_key([Values("ES256", "ES384", "PS256")] string algorithm)
    {
        var key = TestKey.Create(algorithm);

        var answer = await SendAsync(Proof(key));

        answer.IsGrant(tokenType: "DPoP");
        Assert.That(answer.Token.GetPayloadValue<JsonElement>("cnf").GetRawText(), Is.EqualTo($$"""{"jkt":"{{key.Thumbprint}}"}"""));
        Assert.That((await Server.Events.OfAsync(answer.EventId)).GetProperty("jkt").GetString(), Is.EqualTo(key.Thumbprint));
    }

    [Test, Rfc(9449, "5b")]
    public async Task Without_a_proof_the_token_is_not_bound()
    {
        var answer = await TokenRequestBuilder.For(Client).SendAsync(Server);

        answer.IsGrant();
        Assert.That(answer.Token.TryGetPayloadValue<JsonElement>("cnf", out _), Is.False);
    }

    [Test, Rfc(9449, "5g")]
    public async Task A_client_may_bind_its_tokens_to_several_keys()
    {
        foreach (var key in new[] { Key, TestKey.Create(), TestKey.Create() })
        {
            var token = (await SendAsync(Proof(key))).Token;
            Assert.That(token.GetPayloadValue<JsonElement>("cnf").GetProperty("jkt").GetString(), Is.EqualTo(key.Thumbprint));
        }
    }

    [Test]
    public async Task A_client_that_signs_assertions_binds_its_tokens_too()
    {
        var key = await Database.CreateKeyClientAsync("signer");

        var answer = await TokenRequestBuilder.ByAssertion(SignedJwt.Assertion(Server, "signer", key).Signed())
            .WithHeader("DPoP", Proof().Signed()).SendAsync(Server);

        answer.IsGrant(tokenType: "DPoP");
        Assert.That(answer.Token.GetPayloadValue<JsonElement>("cnf").GetProperty("jkt").GetString(), Is.EqualTo(Key.Thumbprint));
    }

    [Test, Rfc(9449, "5.2"), Rfc(9449, "5f"), Rfc(9700, "2.2.1")]
    public async Task A_client_whose_tokens_must_be_bound_gets_none_without_a_proof()
    {
        var client = await Database.CreateClientAsync("bound");
        await Database.ExecuteAsync("update token_service.client set sender_constraint = 'dpop' where id = 'bound'");

        await IsRefusedAsync(await TokenRequestBuilder.For(client).SendAsync(Server), Reason.DpopProofMissing, ClientMust);
        (await TokenRequestBuilder.For(client).WithHeader("DPoP", Proof().Signed()).SendAsync(Server)).IsGrant(tokenType: "DPoP");
    }

    [Test, Rfc(9449, "5.2b")]
    public async Task A_resource_whose_tokens_must_be_bound_gets_no_others()
    {
        var client = await Database.CreateClientAsync("payer", "pay", "pay", "https://payments.example.com");
        await Database.ExecuteAsync(
            "update token_service.resource set sender_constraint = 'dpop' where id = 'https://payments.example.com'");

        await IsRefusedAsync(await TokenRequestBuilder.For(client).SendAsync(Server), Reason.DpopProofMissing, ResourceMust);
        (await TokenRequestBuilder.For(client).WithHeader("DPoP", Proof().Signed()).SendAsync(Server)).IsGrant("pay", tokenType: "DPoP");
        (await TokenRequestBuilder.For(Client).SendAsync(Server)).IsGrant();
    }

    [Test]
    public async Task A_change_of_the_constraint_is_obeyed_by_a_running_server()
    {
        var client = await Database.CreateClientAsync("changing");
        (await TokenRequestBuilder.For(client).SendAsync(Server)).IsGrant();

        await Database.ExecuteAsync("update token_service.client set sender_constraint = 'dpop' where id = 'changing'");
        await Server.HasReceivedNotificationsAsync();
        await IsRefusedAsync(await TokenRequestBuilder.For(client).SendAsync(Server), Reason.DpopProofMissing, ClientMust);

        await Database.ExecuteAsync("update token_service.client set sender_constraint = null where id = 'changing'");
        await Server.HasReceivedNotificationsAsync();
        (await TokenRequestBuilder.For(client).SendAsync(Server)).IsGrant();
    }

    [Test, Rfc(9449, "6.2"), Rfc(7662, "2.2")]
    public async Task Introspection_shows_what_a_token_is_bound_to()
    {
        var api = await Database.CreateApiAsync("api", "https://api.example.com");
        var bound = (await SendAsync(Proof())).Token.EncodedToken;

        (await TokenRequestBuilder.Introspect(api, bound).SendAsync(Server)).IsActive(bound, "DPoP");
        var signed = await TokenRequestBuilder.Introspect(api, bound)
            .WithHeader("Accept", "application/token-introspection+jwt").SendAsync(Server);
        var inside = new JsonWebToken(signed.Body).GetPayloadValue<JsonElement>("token_introspection");
        Assert.That(inside.GetProperty("token_type").GetString(), Is.EqualTo("DPoP"));
        Assert.That(inside.GetProperty("cnf").GetRawText(), Is.EqualTo($$"""{"jkt":"{{Key.Thumbprint}}"}"""));
    }

    // An admin cannot give a client this claim. If it is there in spite of that, the token does not have it.
    [Test, Rfc(9449, "6c")]
    public async Task An_extra_claim_cannot_bind_a_token()
    {
        var client = await Database.CreateClientAsync("pretender");
        await Database.ExecuteAsync(
            """
            alter table token_service.client drop constraint client_extra_claims_not_reserved;
            update token_service.client set extra_claims = '{"cnf": {"jkt": "x"}}' where id = 'pretender'
            """);

        var unbound = await TokenRequestBuilder.For(client).SendAsync(Server);
        Assert.That(unbound.Token.TryGetPayloadValue<JsonElement>("cnf", out _), Is.False);
        var bound = await TokenRequestBuilder.For(client).WithHeader("DPoP", Proof().Signed()).SendAsync(Server);
        Assert.That(bound.Token.GetPayloadValue<JsonElement>("cnf").GetRawText(), Is.EqualTo($$"""{"jkt":"{{Key.Thumbprint}}"}"""));
    }
}
