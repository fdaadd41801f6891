using Dapper;
using Microsoft.Extensions.DependencyInjection;
using TokenService.Clients;
using TokenService.Secrets;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Caching;

/// <summary>
/// The server reads a client as it was at one instant, by the database's clock, and a new secret works at once.
/// </summary>
[TestFixture]
public sealed class FreshClients : ServerFixture
{
    private protected override string[] Settings => ["Logging:LogLevel:Npgsql=Trace"];

    [Test]
    public async Task A_new_secret_works_before_its_notification_arrives()
    {
        using var wire = new DatabaseProxy(Database);
        await using var server = await TestServer.StartAsync(wire.ConnectionString, new FakeClock());
        var client = await Database.CreateClientAsync("rotating");
        await server.IsListeningAsync();
        (await TokenRequestBuilder.For(client).SendAsync(server)).IsGrant("invoices:read");

        wire.SilenceListeners();
        (await TokenRequestBuilder.For(await AddSecretAsync(client)).SendAsync(server)).IsGrant("invoices:read");
    }

    // Otherwise the time of the answer would tell which clients exist.
    [Test]
    public async Task A_wrong_secret_costs_one_read_whether_or_not_the_client_exists(
        [Values("enabled", "disabled", "unknown")] string kind, [Values] bool isCached)
    {
        var client = new TestClient($"{kind}-{isCached}", GeneratedSecret.Create().Value);
        if (kind != "unknown")
            await Database.CreateClientAsync(client.Id);
        if (kind == "disabled")
            await Database.ExecuteAsync("select token_service.set_client_enabled(@Id, false)", client);
        await Server.HasReceivedNotificationsAsync();
        if (isCached)
            await Server.Services.GetRequiredService<ClientCache>().FindAsync(client.Id, CancellationToken.None);
        var before = Reads();

        (await TokenRequestBuilder.For(client).SendAsync(Server)).IsInvalidClient();

        Assert.That(Reads() - before, Is.EqualTo(1));
    }

    [Test]
    public async Task A_change_committed_during_the_read_is_seen_whole_or_not_at_all()
    {
        var client = await Database.CreateClientAsync("changing", "invoices:read");
        await Server.HasReceivedNotificationsAsync();
        await using var admin = await Database.Source.OpenConnectionAsync();
        await admin.ExecuteAsync("begin; lock table token_service.client_scope in access exclusive mode");
        var asking = TokenRequestBuilder.For(client).WithScope("invoices:write").SendAsync(Server);
        await Soon.IsAsync("the server waits for the scopes", async () => await Database.WaitersForAsync("client_scope") > 0);

        // One transaction revokes the secret and grants the scope, so at no instant could this secret get a token with
        // this scope.
        await admin.ExecuteAsync(
            "select token_service.revoke_secret(@Id, @secretId), token_service.grant_scope(@Id, 'invoices:write'); commit",
            new { client.Id, secretId = SecretId(client) });

        Assert.That((await asking).Status, Is.Not.EqualTo(200));
    }

    [Test]
    public async Task A_secret_begins_and_ends_by_the_databases_clock_when_the_servers_clock_is_behind()
    {
        var behind = new FakeClock(TimeSpan.FromSeconds(-63)); // three seconds behind the database
        await using var server = await TestServer.StartAsync(Database.ConnectionString, behind);
        await server.IsListeningAsync();
        var fresh = await AddSecretAsync(Client);
        (await TokenRequestBuilder.For(fresh).SendAsync(server)).IsGrant("invoices:read");

        await Database.ExecuteAsync(
            "select token_service.revoke_secret(@Id, @secretId)", new { Client.Id, secretId = SecretId(fresh) });
        await server.HasReceivedNotificationsAsync();
        (await TokenRequestBuilder.For(fresh).SendAsync(server)).IsInvalidClient();
    }

    private int Reads() => Server.Log.Lines.Count(line =>
        line.Contains("Npgsql.Command: Batch execution completed", StringComparison.Ordinal)
        && line.Contains("from token_service.client_secret", StringComparison.Ordinal));

    private async Task<TestClient> AddSecretAsync(TestClient client)
    {
        var secret = GeneratedSecret.Create().Value;
        await Database.AddSecretAsync(client.Id, secret);
        return client with { Secret = secret };
    }

    private static string SecretId(TestClient client) =>
        GeneratedSecret.TryParse(client.Secret, out var secret)
            ? secret.Selector
            : throw new ArgumentException("It is not a generated secret.");
}
