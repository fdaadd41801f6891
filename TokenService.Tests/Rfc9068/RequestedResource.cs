using Npgsql;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Rfc9068;

/// <summary>A scope belongs to one resource, and the scopes asked for decide the one audience of a token.</summary>
[TestFixture, Rfc(9068, "3"), Rfc(9068, "5")]
public sealed class RequestedResource : ServerFixture
{
    private const string SeveralResources = "The scopes belong to different resources: ask for those of one.";

    private TestClient both = null!;
    private TestClient bothByDefault = null!;

    [OneTimeSetUp]
    public async Task MakeClientsOfTwoResources()
    {
        await Database.CreateClientAsync("ledger", "ledger:read ledger:write", "ledger:read", "https://ledger.example.com");
        both = await Database.CreateClientAsync("both", "invoices:read invoices:write", "invoices:read");
        bothByDefault = await Database.CreateClientAsync("both-by-default", "invoices:read", "invoices:read");
        await Database.ExecuteAsync(
            """
            insert into token_service.client_scope (client_id, scope, is_default)
            values ('both', 'ledger:read', false),
                   ('both', 'ledger:write', false),
                   ('both-by-default', 'ledger:read', true)
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
    public async Task Without_a_scope_it_is_the_resource_of_the_defaults()
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
    public async Task Defaults_of_several_resources_are_refused_until_one_is_named()
    {
        (await TokenRequestBuilder.For(bothByDefault).SendAsync(Server)).IsError(400, "invalid_scope", SeveralResources);
        (await TokenRequestBuilder.For(bothByDefault).WithScope("ledger:read").SendAsync(Server)).IsGrant("ledger:read");
    }

    [Test, Rfc(9068, "5a"), Rfc(9068, "2.2.3")]
    public async Task A_scope_cannot_come_to_belong_to_a_second_resource()
    {
        var refusal = await Assert.ThrowsAsync<PostgresException>(
            () => Database.CreateClientAsync("thief", "ledger:read", "ledger:read", "https://thief.example.com"));

        Assert.That(refusal!.MessageText, Is.EqualTo("The scope \"ledger:read\" belongs to resource https://ledger.example.com."));
    }

    [Test, Rfc(9068, "5a")]
    public async Task An_audience_belongs_to_one_resource()
    {
        var refusal = await Assert.ThrowsAsync<PostgresException>(
            () => Database.ExecuteAsync("insert into token_service.resource (audience) values ('https://ledger.example.com')"));

        Assert.That(refusal!.ConstraintName, Is.EqualTo("resource_pkey"));
    }
}
