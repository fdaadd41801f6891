using Npgsql;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Rfc9068;

/// <summary>The scopes asked for decide the one audience of a token: the resource to which they all belong.</summary>
[TestFixture, Rfc(9068, "3"), Rfc(9068, "5")]
public sealed class RequestedResource : ServerFixture
{
    private const string SeveralResources =
        "The scopes belong to different resources: ask for those of one, or name it as resource or audience.";

    private TestClient both = null!;
    private TestClient bothByDefault = null!;
    private int number;

    [OneTimeSetUp]
    public async Task MakeClientsOfTwoResources()
    {
        await Database.CreateClientAsync("ledger", "ledger:read ledger:write", "ledger:read", "https://ledger.example.com");
        both = await Database.CreateClientAsync("both", "invoices:read invoices:write", "invoices:read");
        bothByDefault = await Database.CreateClientAsync("both-by-default", "invoices:read", "invoices:read");
        await Database.ExecuteAsync(
            """
            insert into token_service.client_scope (client_id, resource, scope, is_default)
            values ('both', 'https://ledger.example.com', 'ledger:read', false),
                   ('both', 'https://ledger.example.com', 'ledger:write', false),
                   ('both-by-default', 'https://ledger.example.com', 'ledger:read', true)
            """);
    }

    [TestCase("invoices:read", "https://api.example.com")]
    [TestCase("invoices:read invoices:write", "https://api.example.com")]
    [TestCase("ledger:read", "https://ledger.example.com")]
    [TestCase("ledger:read ledger:write", "https://ledger.example.com")]
    [Rfc(9068, "3a"), Rfc(9068, "2.2.3"), Rfc(9068, "5a"), Rfc(9700, "2.3a")]
    public async Task The_audience_is_the_resource_of_the_scopes(string scope, string audience)
    {
        var answer = await TokenRequestBuilder.For(both).WithScope(scope).SendAsync(Server);

        answer.IsGrant(scope);
        Assert.That(answer.Token.Audiences, Is.EqualTo([audience]));
    }

    [Test, Rfc(9068, "3a")]
    public async Task The_audience_without_a_requested_scope_is_the_resource_of_the_default_scopes()
    {
        var answer = await TokenRequestBuilder.For(both).SendAsync(Server);

        answer.IsGrant("invoices:read");
        Assert.That(answer.Token.Audiences, Is.EqualTo(["https://api.example.com"]));
    }

    [TestCase("invoices:read ledger:read")]
    [TestCase("ledger:write ledger:read invoices:write")]
    [Rfc(9068, "3b"), Rfc(9068, "5c")]
    public async Task Scopes_of_several_resources_are_refused(string scope) =>
        (await TokenRequestBuilder.For(both).WithScope(scope).SendAsync(Server)).IsError(400, "invalid_scope", SeveralResources);

    [Test, Rfc(9068, "3b"), Rfc(9068, "5c")]
    public async Task Default_scopes_of_several_resources_are_refused_until_a_scope_is_requested()
    {
        (await TokenRequestBuilder.For(bothByDefault).SendAsync(Server)).IsError(400, "invalid_scope", SeveralResources);
        (await TokenRequestBuilder.For(bothByDefault).WithScope("ledger:read").SendAsync(Server)).IsGrant("ledger:read");
    }

    // One client's scope of a name is no other client's: each has what it was granted.
    [Test, Rfc(9068, "5a"), Rfc(9068, "2.2.3")]
    public async Task Two_resources_may_have_a_scope_of_one_name_and_neither_token_is_for_the_other()
    {
        var namesake = await Database.CreateClientAsync("namesake", "ledger:read", "ledger:read", "https://namesake.example.com");

        var theirs = await TokenRequestBuilder.For(namesake).WithScope("ledger:read").SendAsync(Server);
        theirs.IsGrant("ledger:read");
        Assert.That(theirs.Token.Audiences, Is.EqualTo(["https://namesake.example.com"]));
        (await TokenRequestBuilder.For(namesake).With("resource", "https://ledger.example.com").WithScope("ledger:read").SendAsync(Server))
            .IsError(400, "invalid_target", "The resource is unknown or not one of this client's.");
    }

    // Which of the two is meant follows from nothing else in the request, not even from the other scopes.
    [TestCase("read")]
    [TestCase("read one:write")]
    [TestCase("one:write read two:write")]
    [Rfc(9068, "3b"), Rfc(9068, "5c"), Rfc(8707, "2.2")]
    public async Task A_scope_that_the_client_holds_at_several_resources_is_granted_only_where_the_request_names_one(string scope)
    {
        var client = await Database.CreateClientAsync($"ambiguous-{++number}", "read one:write", "", "https://one.example.com");
        await Database.ExecuteAsync(
            """
            select token_service.create_resource('https://two.example.com', array['read', 'two:write']);
            select token_service.grant_scope(@Id, 'read', p_resource => 'https://two.example.com');
            select token_service.grant_scope(@Id, 'two:write');
            """,
            client);

        (await TokenRequestBuilder.For(client).WithScope(scope).SendAsync(Server)).IsError(
            400, "invalid_target", "This client holds a scope of that name at several resources: name one as resource or audience too.");
        foreach (var resource in new[] { "https://one.example.com", "https://two.example.com" })
        {
            var answer = await TokenRequestBuilder.For(client).With("resource", resource).WithScope("read").SendAsync(Server);
            answer.IsGrant("read");
            Assert.That(answer.Token.Audiences, Is.EqualTo([resource]));
        }

        // The client holds the other scopes at one resource only.
        (await TokenRequestBuilder.For(client).WithScope("two:write").SendAsync(Server)).IsGrant("two:write");
        (await TokenRequestBuilder.For(client).WithScope("two:write one:write").SendAsync(Server))
            .IsError(400, "invalid_scope", SeveralResources);
        (await TokenRequestBuilder.For(client).With("resource", "https://one.example.com").WithScope("read two:write").SendAsync(Server))
            .IsError(400, "invalid_scope", "A scope is unknown or not held by this client there.");
        (await TokenRequestBuilder.For(client).WithScope("read unknown").SendAsync(Server))
            .IsError(400, "invalid_scope", "A scope is unknown or not held by this client.");

        // A scope that was revoked no longer makes the name ambiguous.
        await Database.ExecuteAsync("select token_service.revoke_scope(@Id, 'read', 'https://two.example.com')", client);
        await Server.HasReceivedNotificationsAsync();
        (await TokenRequestBuilder.For(client).WithScope("read").SendAsync(Server)).IsGrant("read");
    }

    [Test, Rfc(9068, "3b"), Rfc(9068, "5c")]
    public async Task Defaults_of_one_name_at_several_resources_are_refused_until_one_is_named()
    {
        var client = await Database.CreateClientAsync("ambiguous-default", "read", "read", "https://one.example.com");
        await Database.ExecuteAsync(
            """
            select token_service.create_resource('https://two.example.com', array['read']);
            select token_service.grant_scope(@Id, 'read', true, 'https://two.example.com');
            """,
            client);
        (await TokenRequestBuilder.For(client).SendAsync(Server)).IsError(400, "invalid_scope", SeveralResources);
        (await TokenRequestBuilder.For(client).With("resource", "https://two.example.com").SendAsync(Server)).IsGrant("read");
    }

    [Test, Rfc(9068, "5a")]
    public async Task An_audience_belongs_to_one_resource()
    {
        var refusal = await Assert.ThrowsAsync<PostgresException>(
            () => Database.ExecuteAsync("insert into token_service.resource (id) values ('https://ledger.example.com')"));

        Assert.That(refusal!.ConstraintName, Is.EqualTo("resource_pkey"));
    }
}
