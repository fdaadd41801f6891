using System.Diagnostics.Metrics;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Options;
using TokenService.Authentication;
using TokenService.Clients;
using TokenService.Configuration;
using TokenService.Limits;
using TokenService.Postgres;
using TokenService.Proofs;
using TokenService.Protocol;
using TokenService.Secrets;
using TokenService.Telemetry;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Secrets;

/// <summary>RFC 6749 §2.3.1: the cost of a refusal must not tell an unknown client from a wrong secret.</summary>
[TestFixture, Rfc(6749, "5.2f")]
public sealed class CostOfRefusals
{
    private const string Imported = "a wrong secret of another system";

    private static readonly string Wrong = GeneratedSecret.Create().Value;

    private readonly WorkersClock clock = new();
    private Database database = null!;
    private HashingQueue hashing = null!;
    private readonly ServiceProvider services = new ServiceCollection().AddMetrics().BuildServiceProvider();
    private ClientCache clients = null!;
    private ClientAuthenticator authenticator = null!;

    // Each client holds a generated secret, and all but one also hold the same imported secret.
    [OneTimeSetUp]
    public async Task CreateClients()
    {
        database = await Database.CreateAsync();
        foreach (var id in new[] { "enabled", "disabled", "poster" })
        {
            var client = await database.CreateClientAsync(id, methods: id == "poster" ? "client_secret_post" : "client_secret_basic");
            await database.AddSecretAsync(client.Id, "the right secret of another system");
        }

        await database.CreateClientAsync("generated");
        await database.ExecuteAsync("update token_service.client set enabled = false where id = 'disabled'");

        var options = Options.Create(new HashingOptions { MemoryKiB = Database.Cheap.MemoryKiB, Iterations = Database.Cheap.Iterations });
        hashing = new HashingQueue(Run.Hasher, options.Value, threadCount: 1, clock);
        var notifications = new ChangeNotifications(database.Source, TimeProvider.System, NullLogger<ChangeNotifications>.Instance);
        clients = new ClientCache(
            new ClientStore(database.Source), notifications, Options.Create(new ClientCacheOptions()),
            new Metrics(services.GetRequiredService<IMeterFactory>()), TimeProvider.System,
            NullLogger<ClientCache>.Instance);
        var key = VerifiedSecretKey.Derive("test", new byte[32]);
        var secrets = new SecretAuthentication(
            new VerifiedSecretCache(options, new VerifiedSecretKeys(key, [key]), new VerifiedSecretQueue(), TimeProvider.System),
            new FailedAttemptLimiter(Options.Create(new LimitOptions()), TimeProvider.System),
            hashing,
            options,
            TimeProvider.System);
        var issuer = Issuer.TryParse(TestServer.Issuer, out var parsed) ? parsed : throw new InvalidOperationException();
        var assertions = new AssertionAuthentication(
            issuer, Options.Create(new AssertionOptions()), ServerProfile.Baseline, TimeProvider.System);
        var usedIds = new UsedIds(
            new UsedIdStore(database.Source), notifications, Options.Create(new AssertionOptions()),
            Options.Create(new ClientCacheOptions()), ServerProfile.Baseline,
            new Metrics(services.GetRequiredService<IMeterFactory>()), TimeProvider.System, NullLogger<UsedIds>.Instance);
        authenticator = new ClientAuthenticator(clients, secrets, assertions, usedIds, ServerProfile.Baseline, TimeProvider.System);
    }

    [OneTimeTearDown]
    public async Task DropDatabase()
    {
        hashing.Dispose();
        clients.Dispose();
        await services.DisposeAsync();
        await database.DisposeAsync();
    }

    [Test]
    public async Task A_wrong_secret_of_another_system_costs_one_hash(
        [Values("nobody", "enabled", "disabled", "poster", "generated")] string clientId) =>
        Assert.That(await HashesAsync(clientId, Imported), Is.EqualTo(1));

    [Test]
    public async Task A_wrong_generated_secret_costs_no_hash(
        [Values("nobody", "enabled", "disabled", "poster", "generated")] string clientId) =>
        Assert.That(await HashesAsync(clientId, Wrong), Is.Zero);

    [Test]
    public async Task A_damaged_generated_secret_costs_no_hash(
        [Values("nobody", "enabled", "disabled", "poster", "generated")] string clientId) =>
        Assert.That(await HashesAsync(clientId, Wrong[..^1]), Is.Zero);

    private async Task<int> HashesAsync(string clientId, string secret)
    {
        clock.Workers.Clear();
        var authentication = await authenticator.AuthenticateAsync(
            new ClientCredentials.Basic(clientId, PresentedSecret.Parse(secret)), source: null, CancellationToken.None);
        Assert.That(!authentication.Result.TryGet(out _, out var error) && error.Code == "invalid_client");
        return clock.Workers.Count;
    }
}
