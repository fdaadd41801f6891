using System.Security.Cryptography;
using Dapper;
using Microsoft.IdentityModel.JsonWebTokens;
using Microsoft.IdentityModel.Tokens;
using TokenService.Configuration;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Keys;

/// <summary>Servers share their signing keys in the database, where the private keys are sealed.</summary>
[TestFixture]
public sealed class SigningKeysOfReplicas
{
    private Database database = null!;
    private TestClient client = null!;

    [SetUp]
    public async Task CreateDatabase()
    {
        database = await Database.CreateAsync();
        client = await database.CreateClientAsync("billing");
    }

    [TearDown]
    public async Task DropDatabase() => await database.DisposeAsync();

    [Test, CancelAfter(30_000)]
    public async Task Servers_that_start_at_the_same_time_agree_on_the_keys(CancellationToken ct)
    {
        // The lock holds up all servers before they can read the keys, then lets them go together.
        await using var holder = await database.Source.OpenConnectionAsync(ct);
        await using var hold = await holder.BeginTransactionAsync(ct);
        await holder.ExecuteAsync("lock table token_service.signing_key in access exclusive mode");
        var starting = Enumerable.Range(0, 3).Select(_ => Task.Run(() => TestServer.StartAsync(database), ct)).ToArray();
        while (await WaitingAsync() < starting.Length)
            ct.ThrowIfCancellationRequested();
        await hold.CommitAsync(ct);
        var servers = await Task.WhenAll(starting);

        Assert.That(await KeyCountAsync(), Is.EqualTo(2), "one key signs, one is next");
        foreach (var issuing in servers)
        {
            var token = (await TokenRequestBuilder.For(client).SendAsync(issuing)).Token;
            foreach (var verifying in servers)
                Assert.That(await VerifiesAsync(verifying, token.EncodedToken), Is.True);
        }

        foreach (var server in servers)
            await server.DisposeAsync();
    }

    [Test]
    public async Task A_restarted_server_signs_with_the_same_key()
    {
        var before = await TokenAsync();
        var after = await TokenAsync();

        Assert.That(after.Kid, Is.EqualTo(before.Kid));
        Assert.That(await KeyCountAsync(), Is.EqualTo(2), "one key signs, one is next");
    }

    [Test]
    public async Task The_database_holds_the_private_key_only_sealed()
    {
        await using var server = await TestServer.StartAsync(database);
        var d = (await Forgery.KeyOfAsync(server)).ExportParameters(includePrivateParameters: true).D!;

        var sealedKey = await database.ReadAsync<byte[]>("select string_agg(sealed_private_key, '') from token_service.signing_key");
        var row = await database.ReadAsync<string>("select string_agg(signing_key::text, ' ') from token_service.signing_key");
        using (Assert.EnterMultipleScope())
        {
            Assert.That(sealedKey.AsSpan().IndexOf(d), Is.Negative);
            Assert.That(row, Does.Not.Contain(Convert.ToHexStringLower(d)).And.Not.Contain(Base64UrlEncoder.Encode(d)));
        }
    }

    [Test]
    public async Task A_server_without_the_sealing_key_does_not_start()
    {
        var kid = (await TokenAsync($"Keys:SealingKeys:old={NewKey()}", "Keys:SealingKeyId=old")).Kid;

        Assert.That(
            () => TestServer.StartAsync(database),
            Throws.TypeOf<OperatorException>().With.Message.EqualTo(
                $"The signing key {kid} is sealed with the sealing key \"old\", which is not configured. "
                + "Set Keys:SealingKeys:old or Keys:SealingKeyFiles:old."));
    }

    [Test]
    public async Task A_server_whose_sealing_key_has_another_value_does_not_start()
    {
        var kid = (await TokenAsync()).Kid;

        Assert.That(
            () => TestServer.StartAsync(database, $"Keys:SealingKeys:test={NewKey()}"),
            Throws.TypeOf<OperatorException>().With.Message.EqualTo(
                $"The sealing key \"test\" does not open the signing key {kid}: the value configured under that id is not the one "
                + "that sealed it, or the row was changed."));
    }

    [Test]
    public async Task A_server_with_an_additional_sealing_key_still_opens_older_keys()
    {
        var before = await TokenAsync();
        var after = await TokenAsync($"Keys:SealingKeys:next={NewKey()}", "Keys:SealingKeyId=next");

        Assert.That(after.Kid, Is.EqualTo(before.Kid));
    }

    private async Task<JsonWebToken> TokenAsync(params string[] settings)
    {
        await using var server = await TestServer.StartAsync(database, settings);
        return (await TokenRequestBuilder.For(client).SendAsync(server)).Token;
    }

    private Task<int> WaitingAsync() =>
        database.ReadAsync<int>(
            "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'");

    private Task<int> KeyCountAsync() => database.ReadAsync<int>("select count(*) from token_service.signing_key");

    private static async Task<bool> VerifiesAsync(TestServer server, string token)
    {
        var jwks = new JsonWebKeySet(await server.Client.GetStringAsync("/.well-known/jwks.json"));
        var result = await new JsonWebTokenHandler().ValidateTokenAsync(token, new TokenValidationParameters
        {
            IssuerSigningKeys = jwks.GetSigningKeys(),
            ValidIssuer = TestServer.Issuer,
            ValidAudience = "https://api.example.com",
            ValidateLifetime = false, // the fake clock of these servers differs from the verifier's clock
        });
        return result.IsValid;
    }

    private static string NewKey() => Convert.ToBase64String(RandomNumberGenerator.GetBytes(32));
}
