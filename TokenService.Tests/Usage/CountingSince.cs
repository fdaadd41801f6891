using TokenService.Tests.Harness;

namespace TokenService.Tests.Usage;

/// <summary>
/// A database has no counts from before counting began, so the reports call nothing idle for that time.
/// </summary>
[TestFixture]
public sealed class CountingSince
{
    private Database database = null!;

    [OneTimeSetUp]
    public async Task Upgrade()
    {
        database = await Database.CreateAsync();
        var client = await database.CreateClientAsync("old");
        await database.AddSecretAsync(client.Id, "a secret of another system");
        await database.ExecuteAsync(
            """
            update token_service.client set created_at = created_at - interval '1 year';
            update token_service.client_secret set created_at = created_at - interval '1 year', not_before = not_before - interval '1 year';
            update token_service.client_scope set created_at = created_at - interval '1 year';
            update token_service.policy set usage_counted_since = now();
            """);
    }

    [OneTimeTearDown]
    public async Task Drop() => await database.DisposeAsync();

    [TestCase("29 days", 0)]
    [TestCase("31 days", 1)]
    public async Task Secrets_are_not_called_idle_for_the_time_before_counting_began(string later, int safe)
    {
        await database.SetInstantAsync($"now() + interval '{later}'");
        Assert.That(
            await database.ReadAsync<int>("select count(*) from token_service.retire_unused_secrets('30 days')"),
            Is.EqualTo(safe));
        Assert.That(
            await database.ReadAsync<int>(
                "select count(*) from token_service.credentials_report() where findings like '%safe to retire%'"),
            Is.EqualTo(safe));
        Assert.That(
            await database.ReadAsync<int>(
                "select count(*) from token_service.credentials_report() where findings like 'not used since 20__-__-__%'"),
            Is.EqualTo(2 - safe));
    }

    [TestCase("89 days", 0)]
    [TestCase("91 days", 1)]
    public async Task Clients_are_not_called_idle_for_the_time_before_counting_began(string later, int idle)
    {
        await database.SetInstantAsync($"now() + interval '{later}'");
        Assert.That(await database.ReadAsync<int>("select count(*) from token_service.access_report()"), Is.EqualTo(idle));
    }
}
