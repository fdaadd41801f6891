using Npgsql;
using TokenService.Secrets;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Secrets;

/// <summary><c>secret check</c>: the operator is told why a client gets <c>invalid_client</c>, and the secret is not repeated.</summary>
[TestFixture]
public sealed class SecretCheck
{
    private const string Imported = "the secret of another system";
    private const string Unknowable = "The secret was not made by TokenService, so its form tells nothing.\n";

    private Database database = null!;
    private TestClient client = null!;
    private int number;

    [OneTimeSetUp]
    public async Task CreateDatabase()
    {
        database = await Database.CreateAsync();
        await database.CreateClientAsync("other");
    }

    [OneTimeTearDown]
    public async Task DropDatabase() => await (database?.DisposeAsync() ?? ValueTask.CompletedTask);

    [SetUp]
    public async Task CreateClient() => client = await database.CreateClientAsync($"client-{++number}");

    [Test]
    public async Task A_secret_of_ours_is_well_formed_whoever_has_it()
    {
        var secret = GeneratedSecret.Create();
        // It needs no database for that.
        var tool = await Tool.TokenServiceAsync(["secret", "check"], secret.Value + "\n");
        IsSaid(tool, 0, WellFormed(secret.Selector), secret.Value);
    }

    [TestCase(Imported, Unknowable)]
    [TestCase("tsvc_0123456789AB_0123456789012345678901234567890123456789012345678",
        "The secret on standard input looks like one of TokenService, but its checksum is wrong. Was it cut or mistyped?\n")]
    [TestCase("tsvc_",
        "The secret on standard input has fewer than 16 characters. Make one with: TokenService secret new\n")]
    public async Task Any_other_is_not(string secret, string finding) =>
        IsSaid(await Tool.TokenServiceAsync(["secret", "check"], secret + "\n"), 1, finding, secret.Length > 5 ? secret : "no such");

    [TestCase("not_before = now() - interval '1 day'", 0, "good without end.")]
    [TestCase("expires_at = '2999-01-01 00:00 UTC'", 0, "good until 2999-01-01 00:00:00Z.")]
    [TestCase("not_before = '2999-01-01 00:00 UTC'", 1, "good from 2999-01-01 00:00:00Z on.")]
    [TestCase("not_before = '2020-01-01 UTC', expires_at = '2021-01-01 00:00 UTC'", 1, "expired at 2021-01-01 00:00:00Z.")]
    [TestCase("revoked_at = '2021-01-01 00:00 UTC'", 1, "revoked at 2021-01-01 00:00:00Z.")]
    [TestCase("revoked_at = '2021-01-01 00:00 UTC', not_before = '2020-01-01 UTC', expires_at = '2020-06-01 UTC'", 1,
        "revoked at 2021-01-01 00:00:00Z.")]
    [TestCase("revoked_at = '2999-01-01 00:00 UTC'", 0, "good without end.")]
    public async Task The_secret_of_a_client_is_good_in_its_time(string dates, int exitCode, string finding)
    {
        await database.ExecuteAsync($"update token_service.client_secret set {dates} where client_id = @Id", client);

        IsSaid(await CheckAsync(client), exitCode, $"{WellFormed(SecretId)}It is secret {SecretId} of client {client.Id}, {finding}\n");
    }

    [Test]
    public async Task A_secret_older_than_the_policy_allows_has_expired()
    {
        await database.ExecuteAsync(
            """
            update token_service.policy set max_secret_age = '1 day';
            update token_service.client_secret set created_at = '2021-01-01 00:00 UTC' where client_id = @Id;
            """,
            client);
        var tool = await CheckAsync(client);
        await database.ExecuteAsync("update token_service.policy set max_secret_age = null");

        IsSaid(tool, 1, $"{WellFormed(SecretId)}It is secret {SecretId} of client {client.Id}, expired at 2021-01-02 00:00:00Z.\n");
    }

    [Test]
    public async Task The_secret_of_a_disabled_client_gets_nobody_in()
    {
        await database.ExecuteAsync("select token_service.set_client_enabled(@Id, false)", client);

        IsSaid(await CheckAsync(client), 1,
            $"{WellFormed(SecretId)}It is secret {SecretId} of client {client.Id}, which is disabled.\n");
    }

    [Test]
    public async Task An_imported_secret_is_found_by_hashing()
    {
        var imported = client with { Secret = Imported };
        IsSaid(await CheckAsync(imported), 1, $"{Unknowable}No secret of client {client.Id} is this one.\n", Imported);

        await database.AddSecretAsync(client.Id, Imported);
        var id = await database.ReadAsync<string>(
            "select id from token_service.client_secret where client_id = @Id and id like 'imported%'", client);
        IsSaid(await CheckAsync(imported), 0, $"{Unknowable}It is secret {id} of client {client.Id}, good without end.\n", Imported);
    }

    [Test]
    public async Task A_secret_that_only_names_the_right_row_is_not_the_one()
    {
        var forged = GeneratedSecret.Create();
        await database.ExecuteAsync(
            "update token_service.client_secret set id = @Selector where client_id = @Id", new { forged.Selector, client.Id });

        IsSaid(await CheckAsync(client with { Secret = forged.Value }), 1,
            $"{WellFormed(forged.Selector)}No secret of client {client.Id} is this one.\n", forged.Value);
    }

    [TestCase("other")]
    [TestCase("nobody")]
    public async Task A_secret_of_another_client_names_that_one(string asked) =>
        IsSaid(await CheckAsync(client with { Id = asked }), 1,
            $"{WellFormed(SecretId)}That secret_id belongs to client {client.Id}.\n");

    [Test]
    public async Task A_secret_that_is_not_in_the_database_is_known_by_that()
    {
        var secret = GeneratedSecret.Create();
        IsSaid(await CheckAsync(client with { Secret = secret.Value }), 1,
            $"{WellFormed(secret.Selector)}There is no secret of that id: it was never added, or its client was deleted.\n", secret.Value);
    }

    [Test]
    public async Task A_client_that_is_not_there_is_named() =>
        IsSaid(await CheckAsync(new TestClient("nobody", Imported)), 1, $"{Unknowable}There is no client nobody.\n", Imported);

    [Test]
    public async Task A_secret_in_the_place_of_the_client_is_not_repeated() =>
        IsSaid(await CheckAsync(client with { Id = client.Secret }), 1, "The client_id looks like a secret. If it was one, treat it as leaked.\n");

    [Test]
    public async Task Of_a_secret_that_was_added_twice_the_live_one_counts()
    {
        var twice = await database.CreateClientAsync("twice");
        await database.AddSecretAsync(twice.Id, Imported);
        await database.AddSecretAsync(twice.Id, Imported);
        await database.ExecuteAsync(
            """
            update token_service.client_secret set revoked_at = now()
            where id = (select max(id) from token_service.client_secret where client_id = 'twice' and id like 'imported%')
            """);

        Assert.That((await CheckAsync(twice with { Secret = Imported })).ExitCode, Is.Zero);
    }

    private string SecretId => GeneratedSecret.TryParse(client.Secret, out var secret) ? secret.Selector : "";

    private static string WellFormed(string id) => $"The secret is well-formed. Its secret_id is {id}.\n";

    // With the rights of the service.
    private Task<Tool> CheckAsync(TestClient client)
    {
        var asService = new NpgsqlConnectionStringBuilder(database.ConnectionString) { Options = "-c role=token_service_app" };
        return Tool.TokenServiceAsync(
            ["secret", "check", client.Id], client.Secret + "\n", ("ConnectionStrings__TokenService", asService.ConnectionString));
    }

    private void IsSaid(Tool tool, int exitCode, string output, string? secret = null)
    {
        using (Assert.EnterMultipleScope())
        {
            Assert.That((tool.ExitCode, tool.Error), Is.EqualTo((exitCode, "")));
            Assert.That(tool.Output, Is.EqualTo(output));
            Assert.That(tool.Output, Does.Not.Contain(secret ?? client.Secret));
        }
    }
}
