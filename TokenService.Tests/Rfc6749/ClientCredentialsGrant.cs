using TokenService.Tests.Harness;

namespace TokenService.Tests.Rfc6749;

/// <summary>The only grant the server offers.</summary>
[TestFixture, Rfc(6749, "4.4")]
public sealed class ClientCredentialsGrant : ServerFixture
{
    [Test, Rfc(6749, "4.4.2")]
    public async Task A_client_that_authenticates_gets_a_token_whose_subject_is_that_client()
    {
        var answer = await TokenRequestBuilder.For(Client).SendAsync(Server);

        answer.IsGrant("invoices:read");
        Assert.That((answer.Token.Subject, answer.Token.GetClaim("client_id").Value), Is.EqualTo((Client.Id, Client.Id)));
    }

    // IsGrant already checks every member of the answer; this test names the one that RFC 6749 §4.4.3 advises against.
    [Test, Rfc(6749, "4.4.3")]
    public async Task A_grant_never_has_a_refresh_token(
        [Values("invoices:read", "invoices:read invoices:write")] string scope)
    {
        var answer = await TokenRequestBuilder.For(Client).WithScope(scope).With("access_type", "offline").SendAsync(Server);

        answer.IsGrant(scope);
        Assert.That(answer.Json.TryGetProperty("refresh_token", out _), Is.False);
    }

    [Rfc(6749, "4.4.2"), Rfc(6749, "5.2d"), Rfc(9700, "2.4")]
    [TestCase("authorization_code")]
    [TestCase("password")]
    [TestCase("refresh_token")]
    [TestCase("implicit")]
    [TestCase("token")]
    [TestCase("urn:ietf:params:oauth:grant-type:jwt-bearer")]
    [TestCase("urn:ietf:params:oauth:grant-type:token-exchange")]
    [TestCase("urn:ietf:params:oauth:grant-type:device_code")]
    [TestCase("Client_Credentials")]
    [TestCase("CLIENT_CREDENTIALS")]
    [TestCase("client-credentials")]
    [TestCase("client_credentials ")]
    [TestCase(" client_credentials")]
    [TestCase("client_credentials\0")]
    [TestCase("client_credentials,password")]
    [TestCase("client_credential")]
    [TestCase("clıent_credentials", Description = "a dotless i")]
    [TestCase("ｃlient_credentials", Description = "a letter that looks alike")]
    [TestCase("\0")]
    public async Task Another_grant_type_is_refused(string grantType) =>
        (await TokenRequestBuilder.For(Client).Without("grant_type").With("grant_type", grantType).SendAsync(Server))
            .IsError(400, "unsupported_grant_type", "The only grant_type here is client_credentials.");

    [Test, Rfc(6749, "4.4.2"), Rfc(6749, "5.2d")]
    public async Task A_request_without_a_grant_type_is_refused() =>
        (await TokenRequestBuilder.For(Client).Without("grant_type").With("scope", "invoices:read").SendAsync(Server))
            .IsError(400, "invalid_request", "The parameter grant_type is missing from the body.");

    // Parameters of other grants mean nothing here. Above all, a username does not change the subject.
    [Test, Rfc(6749, "4.4.2")]
    public async Task Parameters_of_other_grants_change_nothing()
    {
        var answer = await TokenRequestBuilder.For(Client)
            .With("username", "root").With("password", "x").With("code", "x").With("refresh_token", "x").With("assertion", "x")
            .SendAsync(Server);

        answer.IsGrant("invoices:read");
        Assert.That(answer.Token.Subject, Is.EqualTo(Client.Id));
    }
}
