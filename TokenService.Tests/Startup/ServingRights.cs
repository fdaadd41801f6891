using TokenService.Tests.Harness;

namespace TokenService.Tests.Startup;

/// <summary>A server needs few rights in its database, and logs a warning when it has more.</summary>
[TestFixture]
public sealed class ServingRights
{
    private const string Warning =
        "Warning TokenService.Postgres.DatabaseUser: The database user may administer TokenService or owns its schema, "
        + "so an attacker who takes over the server could create clients. Requests are answered. "
        + "Connect as a user that is a member of token_service_app only";

    private Database database = null!;

    [OneTimeSetUp]
    public async Task CreateDatabase() => database = await Database.CreateAsync();

    [OneTimeTearDown]
    public async Task DropDatabase() => await (database?.DisposeAsync() ?? ValueTask.CompletedTask);

    [Test]
    public async Task A_server_that_connects_as_the_owner_of_the_schema_logs_a_warning()
    {
        await using var server = await TestServer.StartAsync(
            database, $"ConnectionStrings:TokenService={database.ConnectionString}");

        Assert.That(Warnings(server), Is.EqualTo(1));
    }

    [Test]
    public async Task A_server_that_connects_with_the_rights_of_the_service_logs_no_warning()
    {
        await using var server = await TestServer.StartAsync(database);

        Assert.That(Warnings(server), Is.Zero);
    }

    private static int Warnings(TestServer server) =>
        server.Log.Lines.Count(line => line.StartsWith(Warning, StringComparison.Ordinal));
}
