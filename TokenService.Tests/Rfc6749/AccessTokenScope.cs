using TokenService.Tests.Harness;

namespace TokenService.Tests.Rfc6749;

/// <summary>
/// The server grants the requested scope whole or refuses it, and the answer always names the granted scope.
/// </summary>
[TestFixture, Rfc(6749, "3.3")]
public sealed class AccessTokenScope : ServerFixture
{
    private const string Malformed =
        "The scope parameter is not a list of scopes, separated by single spaces, of characters that a scope may have.";
    private const string NotHeld = "A scope is unknown or not held by this client.";

    [Rfc(6749, "3.3b"), Rfc(6749, "3.3d")]
    [TestCase("invoices:read", "invoices:read")]
    [TestCase("invoices:write", "invoices:write")]
    [TestCase("invoices:read invoices:write", "invoices:read invoices:write")]
    [TestCase("invoices:write invoices:read", "invoices:read invoices:write")]
    [TestCase("invoices:write invoices:read invoices:write", "invoices:read invoices:write")]
    public async Task A_requested_scope_that_the_client_holds_is_granted(string asked, string granted)
    {
        var answer = await TokenRequestBuilder.For(Client).WithScope(asked).SendAsync(Server);

        answer.IsGrant(granted);
        Assert.That(answer.Token.GetClaim("scope").Value, Is.EqualTo(granted));
    }

    [Test, Rfc(6749, "3.3c"), Rfc(6749, "10.3c")]
    public async Task A_request_without_a_scope_is_granted_exactly_the_default_scopes()
    {
        (await TokenRequestBuilder.For(Client).SendAsync(Server)).IsGrant("invoices:read");
        (await TokenRequestBuilder.For(Client).WithScope("").SendAsync(Server)).IsGrant("invoices:read");
    }

    [Test, Rfc(6749, "3.3c")]
    public async Task A_client_without_default_scopes_must_name_a_scope()
    {
        var client = await Database.CreateClientAsync("reports", defaultScopes: "");

        (await TokenRequestBuilder.For(client).SendAsync(Server))
            .IsError(400, "invalid_scope", "This client has no default scopes: name the scopes you want.");
        (await TokenRequestBuilder.For(client).WithScope("invoices:read").SendAsync(Server)).IsGrant("invoices:read");
    }

    [Rfc(6749, "3.3a")]
    [TestCase(" ")]
    [TestCase(" invoices:read")]
    [TestCase("invoices:read ")]
    [TestCase("invoices:read  invoices:write")]
    [TestCase("invoices:read\tinvoices:write")]
    [TestCase("invoices:read\ninvoices:write")]
    [TestCase("\"invoices:read\"")]
    [TestCase("invoices\\read")]
    [TestCase("invoices:read\0")]
    [TestCase("rechnungen:prüfen")]
    public async Task A_malformed_scope_is_refused(string scope) =>
        (await TokenRequestBuilder.For(Client).WithScope(scope).SendAsync(Server)).IsError(400, "invalid_scope", Malformed);

    [Test]
    public async Task A_list_of_scopes_with_commas_is_told_of_the_spaces() =>
        (await TokenRequestBuilder.For(Client).WithScope("invoices:read,invoices:write").SendAsync(Server))
            .IsError(400, "invalid_scope", $"{NotHeld} Spaces separate scopes, not commas.");

    // An unknown scope and a scope that only another client holds get the same answer, so that a client cannot find out
    // which scopes exist.
    [Rfc(6749, "3.3f"), Rfc(6749, "3.3a")]
    [TestCase("unknown")]
    [TestCase("secrets:read")]
    [TestCase("invoices:read unknown")]
    [TestCase("secrets:read invoices:read")]
    [TestCase("Invoices:read")]
    [TestCase("invoices:rea")]
    [TestCase("invoices:*")]
    [TestCase("openid")]
    public async Task A_scope_the_client_does_not_hold_is_refused_not_left_out(string scope)
    {
        await Database.ExecuteAsync(
            "insert into token_service.scope (resource, name) values ('https://api.example.com', 'secrets:read') on conflict do nothing");

        (await TokenRequestBuilder.For(Client).WithScope(scope).SendAsync(Server)).IsError(400, "invalid_scope", NotHeld);
    }

    [Test]
    public async Task A_scope_has_at_most_2048_characters()
    {
        // 15 scopes of 127 characters, one of 128, and the spaces between them.
        string[] scopes = [.. Enumerable.Range('a', 15).Select(c => new string((char)c, 127)), new string('z', 128)];
        var scope = string.Join(' ', scopes);
        Assert.That(scope, Has.Length.EqualTo(2048));
        var client = await Database.CreateClientAsync("long", scopes: scope, defaultScopes: "");

        (await TokenRequestBuilder.For(client).WithScope(scope).SendAsync(Server)).IsGrant(scope);
        (await TokenRequestBuilder.For(client).WithScope(scope + "z").SendAsync(Server))
            .IsError(400, "invalid_scope", "The scope parameter is longer than 2048 characters.");
    }

    // Otherwise the server would issue tokens that its own /introspect and /revoke do not recognise.
    [TestCase(2048)]
    [TestCase(2049)]
    public async Task Default_scopes_longer_than_2048_characters_must_be_requested_by_name(int length)
    {
        // 15 scopes of 128 characters, and the spaces behind them.
        string[] scopes = [.. Enumerable.Range('A', 15).Select(c => new string((char)c, 128)), new string('Z', length - 15 * 129)];
        var defaults = string.Join(' ', scopes);
        var client = await Database.CreateClientAsync($"defaults-{length}", defaults, defaults);

        var answer = await TokenRequestBuilder.For(client).SendAsync(Server);

        if (length > 2048)
            answer.IsError(400, "invalid_scope", "This client's default scopes are too long for a token: name the scopes you want.");
        else
            answer.IsGrant(defaults);
        (await TokenRequestBuilder.For(client).WithScope(scopes[0]).SendAsync(Server)).IsGrant(scopes[0]);
    }
}
