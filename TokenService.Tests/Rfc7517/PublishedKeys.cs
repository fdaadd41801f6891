using System.Buffers.Text;
using System.Text.Json;
using Npgsql;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Rfc7517;

[TestFixture, Rfc(7517, "4"), Rfc(7517, "5")]
public sealed class PublishedKeys : ServerFixture
{
    // The set is in the order in which the keys sign.
    private const int Signing = 0;
    private const int Next = 1;

    [Test, Rfc(7517, "8.5.1")]
    public async Task The_set_has_the_media_type_of_a_JWK_set()
    {
        var answer = await Server.GetAsync("/.well-known/jwks.json");

        using (Assert.EnterMultipleScope())
        {
            Assert.That(answer.Status, Is.EqualTo(200));
            Assert.That(answer.Headers["Content-Type"], Is.EqualTo("application/jwk-set+json"));
            Assert.That(answer.Json.EnumerateObject().Select(member => member.Name), Is.EqualTo(["keys"]));
        }
    }

    [Test, Rfc(7517, "4.2/4.5"), Rfc(7517, "5"), Rfc(8725, "3.1")]
    public async Task A_published_key_has_its_public_members_and_no_private_one([Values(Signing, Next)] int which)
    {
        var key = (await PublishedKey.ReadAllAsync(Server))[which];

        using (Assert.EnterMultipleScope())
        {
            Assert.That(key.Jwk.EnumerateObject().Select(member => member.Name),
                Is.EquivalentTo(["kty", "use", "alg", "kid", "crv", "x", "y"]));
            Assert.That(key.Member("kty"), Is.EqualTo("EC"));
            Assert.That(key.Member("use"), Is.EqualTo("sig"));
            Assert.That(key.Member("alg"), Is.EqualTo("ES256"));
            Assert.That(key.Member("crv"), Is.EqualTo("P-256"));
        }
    }

    // RFC 7518 §6.2.1.2: leading zeros are kept.
    [Test, Rfc(8725, "3.4")]
    public async Task The_point_of_a_published_key_is_on_the_curve_and_has_full_length(
        [Values(Signing, Next)] int which)
    {
        var key = (await PublishedKey.ReadAllAsync(Server))[which];

        using (Assert.EnterMultipleScope())
        {
            Assert.That(Base64Url.DecodeFromChars(key.Member("x")), Has.Length.EqualTo(32));
            Assert.That(Base64Url.DecodeFromChars(key.Member("y")), Has.Length.EqualTo(32));
            Assert.That(() => key.ToECDsa().Dispose(), Throws.Nothing);
        }
    }

    // A thumbprint as the kid means that no two keys ever have the same kid.
    [Test, Rfc(7517, "4.2/4.5")]
    public async Task The_kid_of_a_published_key_is_its_thumbprint([Values(Signing, Next)] int which)
    {
        var key = (await PublishedKey.ReadAllAsync(Server))[which];

        Assert.That(key.Kid, Is.EqualTo(key.Thumbprint));
    }

    // The example of RFC 7638 §3.1 is an RSA key. This is the example key of RFC 7517 appendix A.1, digested by jose
    // 6.2.17.
    [Test]
    public void The_thumbprint_that_these_tests_compute_is_correct() =>
        Assert.That(
            new PublishedKey(JsonElement.Parse("""
                {"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
                 "y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM","use":"enc","kid":"1"}
                """)).Thumbprint,
            Is.EqualTo("cn-I_WNMClehiVp51i_0VpOENW1upEerA8sEam5hn-s"));

    // RFC 7517 §9.2 and RFC 7518 §6: the members that hold private or symmetric key material.
    [Test, Rfc(7517, "5")]
    public Task The_database_refuses_a_private_member(
        [Values("d", "p", "q", "dp", "dq", "qi", "oth", "k")] string member) =>
        Violates("signing_key_public_jwk_is_public",
            "update token_service.signing_key set public_jwk = public_jwk || jsonb_build_object(@member::text, 'c2VjcmV0')",
            new { member });

    [Test, Rfc(7517, "4.2/4.5")]
    public Task The_database_refuses_a_second_key_with_the_same_kid() =>
        Violates("signing_key_pkey", "insert into token_service.signing_key select * from token_service.signing_key limit 1");

    [Test, Rfc(9068, "2.1a"), Rfc(8725, "3.2"), Rfc(8725, "3.5")]
    public Task The_database_refuses_an_algorithm_that_is_none_symmetric_or_outdated(
        [Values("none", "None", "HS256", "HS512", "RS1", "RSA1_5", "es256", "")] string alg) =>
        Violates("signing_key_alg_known", "update token_service.signing_key set alg = @alg", new { alg });

    private async Task Violates(string constraint, string sql, object? parameters = null)
    {
        var refusal = await Assert.ThrowsAsync<PostgresException>(() => Database.ExecuteAsync(sql, parameters));
        Assert.That(refusal!.ConstraintName, Is.EqualTo(constraint));
    }
}
