using Npgsql;
using TokenService.Secrets;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Secrets;

/// <summary>
/// <c>secret check</c> tells the operator why a client gets <c>invalid_client</c>, and never repeats the secret.
/// </summary>
[TestFixture]
public sealed class SecretCheck
{
    private const string Imported = "the secret of another system";
    private const string NotGenerated = "The secret was not made by TokenService, so its form tells nothing.\n";

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
    public async Task Secret_check_without_a_client_reports_that_a_generated_secret_is_well_formed()
    {
        var secret = GeneratedSecret.Create();
        // This check needs no database, so none is configured.
        var tool = await Tool.TokenServiceAsync(["secret", "check"], secret.Value + "\n");
        Reports(tool, 0, WellFormed(secret.Selector), secret.Value);
    }

    [TestCase(Imported, NotGenerated)]
    [TestCase("tsvc_0123456789AB_0123456789012345678901234567890123456789012345678",
        "The secret on standard input looks like one of TokenService, but its checksum is wrong. Was it cut or mistyped?\n")]
    [TestCase("tsvc_",
        "The secret on standard input has fewer than 16 characters. Make one with: TokenService secret new\n")]
    public async Task Secret_check_without_a_client_reports_what_is_wrong_with_any_other_secret(
        string secret, string finding) =>
        Reports(
            await Tool.TokenServiceAsync(["secret", "check"], secret + "\n"), 1, finding,
            secret.Length > 5 ? secret : "no such");

    [TestCase("not_before = now() - interval '1 day'", 0, "good without end.")]
    [TestCase("expires_at = '2999-01-01 00:00 UTC'", 0, "good until 2999-01-01 00:00:00Z.")]
    [TestCase("not_before = '2999-01-01 00:00 UTC'", 1, "good from 2999-01-01 00:00:00Z on.")]
    [TestCase("not_before = '2020-01-01 UTC', expires_at = '2021-01-01 00:00 UTC'", 1, "expired at 2021-01-01 00:00:00Z.")]
    [TestCase("revoked_at = '2021-01-01 00:00 UTC'", 1, "revoked at 2021-01-01 00:00:00Z.")]
    [TestCase("revoked_at = '2021-01-01 00:00 UTC', not_before = '2020-01-01 UTC', expires_at = '2020-06-01 UTC'", 1,
        "revoked at 2021-01-01 00:00:00Z.")]
    [TestCase("revoked_at = '2999-01-01 00:00 UTC'", 0, "good without end.")]
    public async Task Secret_check_reports_the_dates_between_which_a_secret_is_good(
        string dates, int exitCode, string finding)
    {
        await database.ExecuteAsync($"update token_service.client_secret set {dates} where client_id = @Id", client);

        Reports(
            await CheckAsync(client), exitCode,
            $"{WellFormed(SecretId)}It is secret {SecretId} of client {client.Id}, {finding}\n");
    }

    [Test]
    public async Task Secret_check_reports_a_secret_older_than_the_policy_allows_as_expired()
    {
        await database.ExecuteAsync(
            """
            update token_service.policy set max_secret_age = '1 day';
            update token_service.client_secret set created_at = '2021-01-01 00:00 UTC' where client_id = @Id;
            """,
            client);
        var tool = await CheckAsync(client);
        await database.ExecuteAsync("update token_service.policy set max_secret_age = null");

        Reports(
            tool, 1,
            $"{WellFormed(SecretId)}It is secret {SecretId} of client {client.Id}, expired at 2021-01-02 00:00:00Z.\n");
    }

    [Test]
    public async Task Secret_check_reports_that_the_client_is_disabled()
    {
        await database.ExecuteAsync("select token_service.set_client_enabled(@Id, false)", client);

        Reports(await CheckAsync(client), 1,
            $"{WellFormed(SecretId)}It is secret {SecretId} of client {client.Id}, which is disabled.\n");
    }

    [Test]
    public async Task Secret_check_finds_an_imported_secret_by_hashing()
    {
        var imported = client with { Secret = Imported };
        Reports(
            await CheckAsync(imported), 1, $"{NotGenerated}No secret of client {client.Id} is this one.\n", Imported);

        await database.AddSecretAsync(client.Id, Imported);
        var id = await database.ReadAsync<string>(
            "select id from token_service.client_secret where client_id = @Id and id like 'imported%'", client);
        Reports(
            await CheckAsync(imported), 0,
            $"{NotGenerated}It is secret {id} of client {client.Id}, good without end.\n", Imported);
    }

    [Test]
    public async Task Secret_check_refuses_a_secret_that_has_the_selector_but_not_the_digest_of_a_row()
    {
        var forged = GeneratedSecret.Create();
        await database.ExecuteAsync(
            "update token_service.client_secret set id = @Selector where client_id = @Id", new { forged.Selector, client.Id });

        Reports(await CheckAsync(client with { Secret = forged.Value }), 1,
            $"{WellFormed(forged.Selector)}No secret of client {client.Id} is this one.\n", forged.Value);
    }

    [TestCase("other")]
    [TestCase("nobody")]
    public async Task Secret_check_names_the_client_that_a_secret_belongs_to(string asked) =>
        Reports(await CheckAsync(client with { Id = asked }), 1,
            $"{WellFormed(SecretId)}That secret_id belongs to client {client.Id}.\n");

    [Test]
    public async Task Secret_check_reports_a_secret_id_that_is_not_in_the_database()
    {
        var secret = GeneratedSecret.Create();
        Reports(await CheckAsync(client with { Secret = secret.Value }), 1,
            $"{WellFormed(secret.Selector)}There is no secret of that id: it was never added, or its client was deleted.\n", secret.Value);
    }

    [Test]
    public async Task Secret_check_names_an_unknown_client() =>
        Reports(
            await CheckAsync(new TestClient("nobody", Imported)), 1, $"{NotGenerated}There is no client nobody.\n",
            Imported);

    [Test]
    public async Task Secret_check_does_not_repeat_a_secret_given_as_the_client_id() =>
        Reports(
            await CheckAsync(client with { Id = client.Secret }), 1,
            "The client_id looks like a secret. If it was one, treat it as leaked.\n");

    [Test]
    public async Task Secret_check_goes_by_the_live_row_of_a_secret_that_was_added_twice()
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

    [Test]
    public async Task Secret_check_tells_an_admin_whose_rights_it_needs() =>
        Reports(
            await CheckAsync(client, "token_service_admin"), 1,
            $"{WellFormed(SecretId)}This database user may not read digests. Connect as the service's user, a member of token_service_app.\n");

    private string SecretId => GeneratedSecret.TryParse(client.Secret, out var secret) ? secret.Selector : "";

    private static string WellFormed(string id) => $"The secret is well-formed. Its secret_id is {id}.\n";

    // The command runs with the rights of the service.
    private Task<Tool> CheckAsync(TestClient client, string role = "token_service_app")
    {
        var asRole = new NpgsqlConnectionStringBuilder(database.ConnectionString) { Options = $"-c role={role}" };
        return Tool.TokenServiceAsync(
            ["secret", "check", client.Id], client.Secret + "\n", ("ConnectionStrings__TokenService", asRole.ConnectionString));
    }

    private void Reports(Tool tool, int exitCode, string output, string? secret = null)
    {
        using (Assert.EnterMultipleScope())
        {
            Assert.That((tool.ExitCode, tool.Error), Is.EqualTo((exitCode, "")));
            Assert.That(tool.Output, Is.EqualTo(output));
            Assert.That(tool.Output, Does.Not.Contain(secret ?? client.Secret));
        }
    }
}
