using TokenService.Tests.Harness;

namespace TokenService.Tests.Usage;

/// <summary>A database that was upgraded a moment ago does not know who was idle before: nothing is called idle for that.</summary>
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
    public async Task Secrets_are_idle_only_since_uses_are_counted(string later, int safe)
    {
        var since = $"now() + interval '{later}'";
        Assert.That(
            await database.ReadAsync<int>($"select count(*) from token_service.retire_unused_secrets('30 days', p_now => {since})"), Is.EqualTo(safe));
        Assert.That(
            await database.ReadAsync<int>(
                $"select count(*) from token_service.secrets_report(p_now => {since}) where findings like '%safe to retire%'"),
            Is.EqualTo(safe));
        Assert.That(
            await database.ReadAsync<int>(
                $"select count(*) from token_service.secrets_report(p_now => {since}) where findings like 'not used since 20__-__-__%'"),
            Is.EqualTo(2 - safe));
    }

    [TestCase("89 days", 0)]
    [TestCase("91 days", 1)]
    public async Task Clients_are_idle_only_since_uses_are_counted(string later, int idle) =>
        Assert.That(
            await database.ReadAsync<int>($"select count(*) from token_service.access_report(p_now => now() + interval '{later}')"),
            Is.EqualTo(idle));
}
