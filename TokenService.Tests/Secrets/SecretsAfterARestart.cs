using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Options;
using TokenService.Secrets;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Secrets;

/// <summary>
/// The database keeps MACs of generated secrets that were verified, so that a replica that starts hashes none of them.
/// </summary>
[TestFixture]
public sealed class SecretsAfterARestart
{
    private const string Imported = "a secret of another system";
    private const string OldKey = "Keys:SealingKeys:old=b2xkLXNlYWxpbmcta2V5LW9mLXRlc3RzLTMyLWJ5dGU=";
    private const string NewKey = "Keys:SealingKeys:new=bmV3LXNlYWxpbmcta2V5LW9mLXRlc3RzLTMyLWJ5dGU=";

    private Database database = null!;
    private TestClient client = null!;

    [SetUp]
    public async Task CreateClient()
    {
        database = await Database.CreateAsync();
        client = await database.CreateClientAsync("billing");
    }

    [TearDown]
    public async Task DropDatabase() => await database.DisposeAsync();

    [Test]
    public async Task A_generated_secret_that_was_verified_before_is_not_hashed_again()
    {
        Assert.That(await HashesAsync(client), Is.EqualTo(1));
        Assert.That(await HashesAsync(client), Is.Zero);
    }

    [Test]
    public async Task An_imported_secret_is_hashed_again_and_not_kept()
    {
        await database.AddSecretAsync(client.Id, Imported);
        var imported = client with { Secret = Imported };

        Assert.That((await HashesAsync(imported), await HashesAsync(imported)), Is.EqualTo((1, 1)));
        Assert.That(await KeptAsync(), Is.Zero);
    }

    [TestCase("Hashing:SecretMemory=00:00:00")]
    [TestCase(NewKey, "Keys:SealingKeyId=new", Description = "The old sealing key is gone.")]
    public async Task A_kept_secret_is_hashed_where_it_cannot_be_recognised(params string[] settings)
    {
        Assert.That(await HashesAsync(client, OldKey, "Keys:SealingKeyId=old"), Is.EqualTo(1));
        await database.ExecuteAsync("delete from token_service.signing_key");

        Assert.That(await HashesAsync(client, settings), Is.EqualTo(1));
    }

    [Test]
    public async Task A_server_with_a_SecretMemory_of_zero_keeps_nothing()
    {
        Assert.That(await HashesAsync(client, "Hashing:SecretMemory=00:00:00"), Is.EqualTo(1));
        Assert.That(await KeptAsync(), Is.Zero);
    }

    [Test]
    public async Task A_kept_secret_is_recognised_while_the_sealing_key_is_replaced_and_after_that()
    {
        Assert.That(await HashesAsync(client, OldKey, "Keys:SealingKeyId=old"), Is.EqualTo(1));
        Assert.That(await HashesAsync(client, OldKey, NewKey, "Keys:SealingKeyId=new"), Is.Zero);
        await database.ExecuteAsync("delete from token_service.signing_key");
        Assert.That(await HashesAsync(client, NewKey, "Keys:SealingKeyId=new"), Is.Zero);
    }

    [TestCase("revoked_at = now()")]
    [TestCase("revoked_at = now() + interval '1 hour'")]
    [TestCase("digest = 'X'")]
    public async Task A_kept_secret_is_gone_when_its_row_is_revoked_or_gets_another_digest(string change)
    {
        await HashesAsync(client);
        Assert.That(await KeptAsync(), Is.EqualTo(1));

        await database.ExecuteAsync(
            $"update token_service.client_secret set {change.Replace("X", Database.Digest("another"), StringComparison.Ordinal)}");
        Assert.That(await KeptAsync(), Is.Zero);
    }

    [Test]
    public async Task A_kept_secret_stays_while_a_rotation_lets_it_live_on_and_is_cleaned_up_when_it_has_ended()
    {
        await HashesAsync(client);
        await database.ExecuteAsync(
            "update token_service.client_secret set expires_at = now() + interval '1 day'; select token_service.delete_expired(100)");
        Assert.That(await KeptAsync(), Is.EqualTo(1));

        await database.ExecuteAsync(
            """
            update token_service.client_secret
            set not_before = now() - interval '1 day', expires_at = now() - interval '2 hours';
            select token_service.delete_expired(100)
            """);
        Assert.That(await KeptAsync(), Is.Zero);
    }

    [Test]
    public async Task A_MAC_in_the_row_of_another_secret_verifies_nothing()
    {
        await HashesAsync(client);
        var other = await database.CreateClientAsync("other");
        await database.ExecuteAsync(
            "insert into token_service.verified_secret select @id, mac, sealing_key_id, verified_at from token_service.verified_secret",
            new { id = other.Secret[5..17] });

        Assert.That(await HashesAsync(other), Is.EqualTo(1));
    }

    [Test]
    public async Task The_database_alone_does_not_verify_a_secret()
    {
        await HashesAsync(client);
        var kept = await database.ReadAsync<byte[]>("select mac from token_service.verified_secret");
        var phc = await database.ReadAsync<string>("select digest from token_service.client_secret");
        Assert.That(Argon2Digest.TryParse(phc!, out var digest), Is.True);
        var row = new ClientSecret
        {
            Id = client.Secret[5..17],
            Digest = digest!,
            NotBefore = default,
            ExpiresAt = null,
            RevokedAt = null,
            HasBegun = true,
            IsOver = false,
        };
        var strangers = VerifiedSecretKey.Derive("test", new byte[32]);
        var cache = new VerifiedSecretCache(
            Options.Create(new HashingOptions()),
            new VerifiedSecretKeys(strangers, [strangers]), new VerifiedSecretQueue(), TimeProvider.System);

        Assert.That(cache.MacOf(row, client.Secret).ToArray(), Is.Not.EqualTo(kept));
    }

    private Task<int> KeptAsync() => database.ReadAsync<int>("select count(*) from token_service.verified_secret");

    // Starts a server, asks for one token, and stops the server. Returns how many secrets were hashed.
    private async Task<int> HashesAsync(TestClient presented, params string[] settings)
    {
        using var hashing = new HashingGate();
        await using var server = await TestServer.StartAsync(
            database.ConnectionString, new FakeClock(), services => services.AddSingleton(_ => hashing.NewThreads()), settings);
        (await TokenRequestBuilder.For(presented).SendAsync(server)).IsGrant("invoices:read");
        return hashing.Count;
    }
}
