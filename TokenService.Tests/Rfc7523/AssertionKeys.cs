using System.Buffers.Text;
using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using TokenService.Jose;
using TokenService.Protocol;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Rfc7523;

/// <summary>The key that verifies an assertion, and what its header may say.</summary>
[TestFixture, Rfc(7523, "3f")]
public sealed class AssertionKeys : AssertionFixture
{
    [SetUp]
    public void MoveOn() => Server.Clock.Advance(TimeSpan.FromMinutes(2));

    [Test, Rfc(7523, "5")]
    public async Task A_client_signs_with_the_algorithm_of_its_key([Values("ES256", "ES384", "PS256", "RS256", "Ed25519")] string algorithm)
    {
        Assume.That(algorithm != "Ed25519" || Libsodium.IsAvailable, "Ed25519 needs libsodium");
        var key = await Database.CreateKeyClientAsync($"signer-{algorithm}", algorithm);

        (await SendAsync(SignedJwt.Assertion(Server, $"signer-{algorithm}", key))).IsGrant();
    }

    // RFC 9864 §2.2: the older name of the same algorithm.
    [Test, Rfc(9864, "2.2")]
    public async Task An_Ed25519_key_signs_under_either_name()
    {
        Assume.That(Libsodium.IsAvailable, "Ed25519 needs libsodium");
        var key = await Database.CreateKeyClientAsync("edwards", "Ed25519");

        (await SendAsync(SignedJwt.Assertion(Server, "edwards", key).WithHeader("alg", "EdDSA"))).IsGrant();
    }

    [Test, Rfc(7523, "3v"), Rfc(8725, "3.1")]
    public async Task A_key_verifies_no_other_algorithm_than_its_own()
    {
        using var rsa = RSA.Create(2048);
        var (pss, pkcs1) = (TestKey.OfRsa("PS256", RSASignaturePadding.Pss, rsa), TestKey.OfRsa("RS256", RSASignaturePadding.Pkcs1, rsa));
        await Database.CreateKeyClientAsync("pss", key: pss);

        (await SendAsync(SignedJwt.Assertion(Server, "pss", pss))).IsGrant();
        var line = await IsRefusedAsync(SignedJwt.Assertion(Server, "pss", pkcs1), Reason.AssertionAlgorithmWrong);
        Assert.That(line.GetProperty("detail").GetString(), Is.EqualTo("the key is for PS256"));
        await IsRefusedAsync(SignedJwt.Assertion(Server, "pss", pkcs1, kid: null), Reason.AssertionKeyUnknown);
        await IsRefusedAsync(SignedJwt.Assertion(Server, "pss", pkcs1).WithHeader("alg", "PS256"), Reason.AssertionSignatureWrong);
    }

    [Test, Rfc(8725, "3.2"), Rfc(8725, "1")]
    public async Task An_alg_that_is_not_offered_is_refused(
        [Values("none", "NONE", "HS256", "es256", "ES256 ", "ES512", "ES256K", "RS1", "")] string algorithm) =>
        await IsRefusedAsync(Assertion().WithHeader("alg", algorithm), Reason.AssertionAlgorithmWrong);

    [Test]
    public async Task An_alg_that_is_missing_or_no_string_is_refused()
    {
        await IsRefusedAsync(Assertion().WithoutHeader("alg"), Reason.AssertionAlgorithmWrong);
        await IsRefusedAsync(Assertion().WithHeader("alg", 7), Reason.AssertionAlgorithmWrong);
        await IsRefusedAsync(Assertion().WithHeader("alg", new JsonArray("ES256")), Reason.AssertionAlgorithmWrong);
    }

    // RFC 8725 §2.1: the public key as an HMAC key, and a JWT without a signature.
    [Test, Rfc(8725, "2.1")]
    public async Task Old_tricks_with_signatures_are_refused()
    {
        var secret = Encoding.UTF8.GetBytes(Key.Jwk.ToJsonString());

        await IsRefusedAsync(
            Assertion().WithHeader("alg", "HS256").WithSignature(input => HMACSHA256.HashData(secret, Encoding.ASCII.GetBytes(input))),
            Reason.AssertionAlgorithmWrong);
        await IsRefusedAsync(Assertion().WithHeader("alg", "none").WithSignature(_ => []), Reason.AssertionAlgorithmWrong);
        await IsRefusedAsync(Assertion().WithSignature(_ => []), Reason.AssertionSignatureWrong);
        await IsRefusedAsync(Assertion().WithSignature(_ => new byte[64]), Reason.AssertionSignatureWrong);
        await IsRefusedAsync(Assertion().WithSignature(input => [.. Key.Sign(input), 0]), Reason.AssertionSignatureWrong);
        await IsRefusedAsync(
            Assertion().WithSignature(input => { var s = Key.Sign(input); s[5] ^= 1; return s; }), Reason.AssertionSignatureWrong);
        await IsRefusedAsync(Assertion().SignedBy(TestKey.Create()), Reason.AssertionSignatureWrong);
    }

    [Test, Rfc(7523, "3u"), Rfc(8725, "3.10")]
    public async Task Kid_names_one_key_and_no_other_is_tried()
    {
        var (first, second) = (await Database.CreateKeyClientAsync("two"), TestKey.Create());
        await Database.AddKeyAsync("two", second, "k2");

        (await SendAsync(SignedJwt.Assertion(Server, "two", first))).IsGrant();
        (await SendAsync(SignedJwt.Assertion(Server, "two", second, "k2"))).IsGrant();
        await IsRefusedAsync(SignedJwt.Assertion(Server, "two", second, "k1"), Reason.AssertionSignatureWrong);
        foreach (var kid in new[] { "k3", "K1", "", "k1 ", "' or true --", new string('k', 5000) })
            await IsRefusedAsync(SignedJwt.Assertion(Server, "two", first, kid), Reason.AssertionKeyUnknown);
    }

    [Test, Rfc(7523, "3u")]
    public async Task Without_kid_up_to_four_keys_of_the_alg_are_tried_the_newest_first()
    {
        var keys = new List<TestKey> { await Database.CreateKeyClientAsync("many") };
        for (var i = 2; i <= 6; i++)
        {
            keys.Add(TestKey.Create(i == 4 ? "ES384" : "ES256"));
            await Database.AddKeyAsync("many", keys[^1], $"k{i}");
        }

        foreach (var key in keys.Skip(1))
            (await SendAsync(SignedJwt.Assertion(Server, "many", key, kid: null))).IsGrant();
        await IsRefusedAsync(SignedJwt.Assertion(Server, "many", keys[0], kid: null), Reason.AssertionSignatureWrong);
        await IsRefusedAsync(SignedJwt.Assertion(Server, "many", TestKey.Create("PS256"), kid: null), Reason.AssertionKeyUnknown);
    }

    [Rfc(7523, "3t")]
    [TestCase("revoked_at = @at", Reason.KeyRevoked)]
    [TestCase("expires_at = @at", Reason.KeyExpired)]
    [TestCase("not_before = @at + interval '1 second', expires_at = null", Reason.KeyNotYetValid)]
    public async Task A_key_is_refused_outside_its_times_and_another_goes_on(string change, string reason)
    {
        var id = $"client-{reason}";
        var (key, other) = (await Database.CreateKeyClientAsync(id), TestKey.Create());
        await Database.AddKeyAsync(id, other, "k2");
        await Database.ExecuteAsync(
            $"update token_service.client_key set {change} where client_id = @id and kid = 'k1'",
            new { id, at = Server.Clock.GetUtcNow() });

        await IsRefusedAsync(SignedJwt.Assertion(Server, id, key), reason);
        await IsRefusedAsync(SignedJwt.Assertion(Server, id, key, kid: null), Reason.AssertionSignatureWrong);
        (await SendAsync(SignedJwt.Assertion(Server, id, other, "k2"))).IsGrant();
        (await SendAsync(SignedJwt.Assertion(Server, id, other, kid: null))).IsGrant();
    }

    [Test]
    public async Task A_key_that_was_just_added_is_found_before_its_notification_arrives()
    {
        var id = "growing";
        var key = await Database.CreateKeyClientAsync(id);
        (await SendAsync(SignedJwt.Assertion(Server, id, key))).IsGrant();

        var added = TestKey.Create();
        await Database.ExecuteAsync("alter table token_service.client_key disable trigger user");
        await Database.AddKeyAsync(id, added, "k2");
        await Database.ExecuteAsync("alter table token_service.client_key enable trigger user");

        (await SendAsync(SignedJwt.Assertion(Server, id, added, "k2"))).IsGrant();
    }

    [Test, Rfc(7523, "3w"), Rfc(8725, "3.10")]
    public async Task Members_of_the_header_that_lead_elsewhere_are_not_followed([Values("jku", "x5u")] string member)
    {
        using var silent = new TcpListener(IPAddress.Loopback, 0);
        silent.Start();
        var address = $"http://{silent.LocalEndpoint}/keys";
        var stranger = TestKey.Create();

        await IsGrantedAsync(Assertion().WithHeader(member, address));
        await IsRefusedAsync(Assertion().WithHeader(member, address).SignedBy(stranger), Reason.AssertionSignatureWrong);
        Assert.That(silent.Pending(), Is.False);
    }

    [Test, Rfc(7523, "3w")]
    public async Task A_key_in_the_header_is_not_believed()
    {
        var stranger = TestKey.Create();

        await IsGrantedAsync(Assertion().WithHeader("jwk", stranger.Jwk.DeepClone()).WithHeader("x5c", new JsonArray("AAAA")));
        await IsRefusedAsync(
            Assertion().WithHeader("jwk", stranger.Jwk.DeepClone()).SignedBy(stranger), Reason.AssertionSignatureWrong);
    }

    [Test, Rfc(7523, "3w")]
    public async Task Critical_extensions_are_refused([Values("[\"b64\"]", "[\"exp\"]", "[]", "null", "7")] string json) =>
        await IsRefusedAsync(
            Assertion().WithHeader("crit", JsonNode.Parse(json)).WithHeader("b64", false), Reason.AssertionHasExtensions);

    // rfc7523bis §4.
    [Test, Rfc(8725, "3.11")]
    public async Task Typ_may_be_missing_or_that_of_an_assertion(
        [Values("client-authentication+jwt", "application/client-authentication+jwt", "Client-Authentication+JWT", "JWT", "jwt")]
        string type) =>
        await IsGrantedAsync(Assertion().WithHeader("typ", type));

    [Test, Rfc(8725, "3.12")]
    public async Task Typ_of_another_JWT_is_refused(
        [Values(
            "\"at+jwt\"", "\"dpop+jwt\"", "\"token-introspection+jwt\"", "\"revoked-tokens+jwt\"", "\"oauth-id-jag+jwt\"",
            "\"logout+jwt\"", "\"wit+jwt\"", "\"\"", "\"application/\"", "null", "7")] string json) =>
        await IsRefusedAsync(Assertion().WithHeader("typ", JsonNode.Parse(json)), Reason.AssertionOfAnotherType);

    [Test, Rfc(8725, "3.4")]
    public async Task A_point_that_is_not_on_its_curve_verifies_nothing()
    {
        var key = await Database.CreateKeyClientAsync("off-curve");
        var off = Base64Url.EncodeToString([.. Enumerable.Repeat((byte)1, 32)]);
        await Database.ExecuteAsync(
            "update token_service.client_key set public_jwk = jsonb_set(public_jwk, '{y}', to_jsonb(@off)) where client_id = 'off-curve'",
            new { off });

        await IsRefusedAsync(SignedJwt.Assertion(Server, "off-curve", key), Reason.KeyUnusable);
    }
}
