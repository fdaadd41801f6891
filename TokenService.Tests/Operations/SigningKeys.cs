using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Dapper;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.IdentityModel.JsonWebTokens;
using Microsoft.IdentityModel.Tokens;
using TokenService.Keys;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Operations;

/// <summary>Where signing keys come from, and how servers agree on them.</summary>
[TestFixture]
public sealed class SigningKeysOfServers
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
    public async Task Servers_that_start_at_once_agree_on_the_keys(CancellationToken ct)
    {
        // All are held up before they can look for a key, then let go together.
        await using var holder = await database.Source.OpenConnectionAsync(ct);
        await using var hold = await holder.BeginTransactionAsync(ct);
        await holder.ExecuteAsync("lock table token_service.signing_key in access exclusive mode");
        var starting = Enumerable.Range(0, 3).Select(_ => Task.Run(() => TestServer.StartAsync(database), ct)).ToArray();
        while (await WaitingAsync() < starting.Length)
            ct.ThrowIfCancellationRequested();
        await hold.CommitAsync(ct);
        var servers = await Task.WhenAll(starting);

        Assert.That(await KeyCountAsync(), Is.EqualTo(2), "one that signs, one that is next");
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
    public async Task A_restart_signs_with_the_same_key()
    {
        var before = await TokenAsync();
        var after = await TokenAsync();

        Assert.That(after.Kid, Is.EqualTo(before.Kid));
        Assert.That(await KeyCountAsync(), Is.EqualTo(2), "one that signs, one that is next");
    }

    [Test]
    public async Task The_private_key_is_in_the_database_only_sealed()
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
    public async Task A_sealing_key_that_is_missing_stops_the_start()
    {
        var kid = (await TokenAsync($"Keys:SealingKeys:old={NewKey()}", "Keys:SealingKeyId=old")).Kid;

        Assert.That(
            () => TestServer.StartAsync(database),
            Throws.TypeOf<StartRefusedException>().With.Message.EqualTo(
                $"The signing key {kid} is sealed with the sealing key \"old\", which is not configured. "
                + "Set Keys:SealingKeys:old or Keys:SealingKeyFiles:old."));
    }

    [Test]
    public async Task A_sealing_key_with_another_value_stops_the_start()
    {
        var kid = (await TokenAsync()).Kid;

        Assert.That(
            () => TestServer.StartAsync(database, $"Keys:SealingKeys:test={NewKey()}"),
            Throws.TypeOf<StartRefusedException>().With.Message.EqualTo(
                $"The sealing key \"test\" does not open the signing key {kid}: the value configured under that id is not the one "
                + "that sealed it, or the row was changed."));
    }

    [Test]
    public async Task A_further_sealing_key_leaves_the_keys_sealed_before_it_open()
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
            ValidateLifetime = false, // the clock of these servers is not the verifier's
        });
        return result.IsValid;
    }

    private static string NewKey() => Convert.ToBase64String(RandomNumberGenerator.GetBytes(32));
}

/// <summary>Which key signs, and which are published, at an instant.</summary>
[TestFixture]
public sealed class KeyRings
{
    private static readonly DateTimeOffset Start = new(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);

    // Published at 10, signs from 20 until 30, gone after 40.
    [TestCase(9, SigningKeyState.Next)]
    [TestCase(10, SigningKeyState.Next)]
    [TestCase(19, SigningKeyState.Next)]
    [TestCase(20, SigningKeyState.Signing)]
    [TestCase(29, SigningKeyState.Signing)]
    [TestCase(30, SigningKeyState.Retiring)]
    [TestCase(39, SigningKeyState.Retiring)]
    [TestCase(40, SigningKeyState.Gone)]
    public void A_key_is_next_then_signs_then_retires_then_is_gone(int now, object state)
    {
        var key = Key("key", 10, 20, 30, 40);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(key.StateAt(At(now)), Is.EqualTo(state));
            Assert.That((key with { WithdrawnAt = At(0) }).StateAt(At(now)), Is.EqualTo(SigningKeyState.Withdrawn));
        }
    }

    [TestCase(29, "key", true)]
    [TestCase(30, null, true)]
    [TestCase(39, null, true)]
    [TestCase(40, null, false)]
    public void A_key_that_has_ended_signs_no_more_and_is_published_until_it_is_gone(int now, string? signing, bool published) =>
        IsAt(now, signing, published ? ["key"] : [], Key("key", 10, 20, 30, 40));

    [TestCase(19, "old")]
    [TestCase(20, "new")]
    [TestCase(30, "new")]
    public void The_key_that_began_last_signs(int now, string signing) =>
        IsAt(now, signing, ["old", "new"], Key("old", 0, 0, 25, 100), Key("new", 10, 20, 50, 100));

    // As on a replica whose clock is behind the one that made the first key.
    [TestCase(0, "a")]
    [TestCase(10, "a")]
    [TestCase(20, "b")]
    public void Before_any_has_begun_the_first_to_come_signs(int now, string signing) =>
        IsAt(now, signing, ["a", "b"], Key("b", 5, 20), Key("a", 5, 10));

    [Test]
    public void A_withdrawn_key_neither_signs_nor_is_published() =>
        IsAt(15, "next", ["next"], Key("withdrawn", 0, 0) with { WithdrawnAt = At(15) }, Key("next", 0, 20));

    // An algorithm that is new here: its first key is published, and until it signs another algorithm's does.
    [TestCase(19, "old")]
    [TestCase(20, "new")]
    public void Until_the_wanted_algorithm_has_begun_another_signs(int now, string signing)
    {
        var ring = new KeyRing([Key("old", 0, 0), Key("new", 10, 20) with { Algorithm = "RS256" }]);
        Assert.That(ring.SigningAt(At(now), "RS256", "RS256")?.Kid, Is.EqualTo(signing));
    }

    // Tokens for a resource that wants RS256, which is new here, are signed as all others are, and not as yet another resource's.
    [Test]
    public void Until_a_resources_algorithm_has_begun_the_default_signs()
    {
        var ring = new KeyRing([Key("default", 0, 0), Key("another's", 0, 5) with { Algorithm = "ES384" }, Key("its", 10, 20) with { Algorithm = "RS256" }]);
        Assert.That(ring.SigningAt(At(19), "RS256", "ES256")?.Kid, Is.EqualTo("default"));
    }

    // Replicas must agree without asking each other.
    [Test]
    public void Of_two_that_began_together_the_same_one_signs_whatever_their_order()
    {
        IsAt(5, "b", ["a", "b"], Key("a", 0, 0), Key("b", 0, 0));
        IsAt(5, "b", ["a", "b"], Key("b", 0, 0), Key("a", 0, 0));
    }

    [Test]
    public void Without_keys_none_signs() => IsAt(0, null, []);

    // The newest key says how long the one after it will wait.
    [TestCase(60, 60, 60)]
    [TestCase(60, 30, 30)]
    [TestCase(30, 60, 30)]
    public void The_JWKS_is_kept_no_longer_than_the_next_key_waits(int configured, int newest, int served) =>
        Assert.That(
            new KeyRing([Key("old", 0, 0), Key("new", 1, 20) with { JwksMaxAge = TimeSpan.FromSeconds(newest) }])
                .JwksMaxAge(TimeSpan.FromSeconds(configured)),
            Is.EqualTo(TimeSpan.FromSeconds(served)));

    private static void IsAt(int now, string? signing, string[] published, params SigningKey[] keys)
    {
        var ring = new KeyRing(keys);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(ring.SigningAt(At(now), "ES256", "ES256")?.Kid, Is.EqualTo(signing));
            Assert.That(ring.PublishedAt(At(now)).Select(key => key.Kid), Is.EqualTo(published));
        }
    }

    private static SigningKey Key(string kid, int publishedAt, int signsFrom, int? signsUntil = null, int? goneAfter = null) => new()
    {
        Kid = kid,
        Algorithm = "ES256",
        PublicJwk = JsonElement.Parse("{}"),
        PublishedAt = At(publishedAt),
        KnownFrom = At(signsFrom),
        JwksMaxAge = TimeSpan.FromMinutes(5),
        SignsFrom = At(signsFrom),
        SignsUntil = signsUntil is { } until ? At(until) : null,
        GoneAfter = goneAfter is { } gone ? At(gone) : null,
    };

    private static DateTimeOffset At(int second) => Start.AddSeconds(second);
}

/// <summary>The seal of a private key: AES-256-GCM, bound to the kid.</summary>
[TestFixture]
public sealed class Sealing
{
    private const string Kid = "the kid";
    private const string Algorithm = "ES256";

    private static readonly byte[] Plaintext = Encoding.ASCII.GetBytes("a private key, such as PKCS #8 has it");

    private readonly SealingKey key = new("test", RandomNumberGenerator.GetBytes(32));

    [Test]
    public void What_was_sealed_is_unsealed() =>
        Assert.That(key.Unseal(key.Seal(Plaintext, Kid, Algorithm), Kid, Algorithm), Is.EqualTo(Plaintext));

    [Test]
    public void A_seal_is_never_made_twice()
    {
        var seals = Enumerable.Range(0, 100).Select(_ => Convert.ToHexString(key.Seal(Plaintext, Kid, Algorithm)[..12]));
        Assert.That(seals, Is.Unique, "the nonce");
    }

    [Test]
    public void Another_kid_is_refused() => IsRefused(key, key.Seal(Plaintext, Kid, Algorithm), "another kid");

    [Test]
    public void Another_algorithm_is_refused() => IsRefused(key, key.Seal(Plaintext, Kid, Algorithm), Kid, "ES384");

    [Test]
    public void Another_key_is_refused() =>
        IsRefused(new SealingKey("test", RandomNumberGenerator.GetBytes(32)), key.Seal(Plaintext, Kid, Algorithm), Kid);

    [Test]
    public void A_changed_byte_is_refused_wherever_it_is()
    {
        var envelope = key.Seal(Plaintext, Kid, Algorithm);
        for (var i = 0; i < envelope.Length; i++)
        {
            envelope[i] ^= 1;
            IsRefused(key, envelope, Kid);
            envelope[i] ^= 1;
        }
    }

    [Test]
    public void A_cut_envelope_is_refused_wherever_it_was_cut()
    {
        var envelope = key.Seal(Plaintext, Kid, Algorithm);
        for (var length = 0; length < envelope.Length; length++)
            IsRefused(key, envelope[..length], Kid);
    }

    private static void IsRefused(SealingKey key, byte[] envelope, string kid, string algorithm = Algorithm) =>
        Assert.That(() => key.Unseal(envelope, kid, algorithm), Throws.TypeOf<StartRefusedException>());
}
