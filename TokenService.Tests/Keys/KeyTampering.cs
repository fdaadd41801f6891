using Microsoft.Extensions.DependencyInjection;
using TokenService.Configuration;
using TokenService.Keys;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Keys;

/// <summary>An attacker who can write signing_key but has no sealing key cannot publish a key of their own.</summary>
[TestFixture]
public sealed class KeyTampering
{
    private const string DoesNotMatch = "The signing key KID does not match its row: the row was changed. Withdraw the key.";

    private const string DoesNotOpen =
        "The sealing key \"test\" does not open the signing key KID: the value configured under that id is not the one "
        + "that sealed it, or the row was changed.";

    private const string HasNoPrivateHalf = "The signing key KID is published, but its private half was destroyed. Withdraw the key.";

    // This point is from RFC 7517 appendix A.1; any other would do.
    private const string ForeignPoint =
        """{"x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}""";

    private const string ForeignJwk = $"update token_service.signing_key set public_jwk = public_jwk || '{ForeignPoint}' where kid = @kid";

    private const string ForeignPrivateKey = """
        update token_service.signing_key k
        set sealed_private_key = other.sealed_private_key
        from token_service.signing_key other
        where k.kid = @kid
          and other.kid <> k.kid
        """;

    // A row with a kid that the attacker chose. The key has ended, so the row needs no private half.
    private const string ForeignRow = $"""
        insert into token_service.signing_key (
            kid, alg, public_jwk, sealing_key_id, published_at, known_from, signs_from, signs_until, jwks_max_age_seconds)
        select 'foreign', alg, public_jwk || '{ForeignPoint}' || jsonb_build_object('kid', 'foreign'), sealing_key_id,
               now() - interval '2 hours', now() - interval '2 hours', now() - interval '2 hours', now(), 300
        from token_service.signing_key
        where kid = @kid
        """;

    private Database database = null!;

    // Each change of a row, with the message that the server answers it with.
    private static IEnumerable<TestCaseData> Changes() =>
    [
        Change("public_jwk of another key", ForeignJwk, DoesNotMatch),
        Change("public_jwk with another kid",
            """update token_service.signing_key set public_jwk = public_jwk || '{"kid":"foreign"}' where kid = @kid""",
            DoesNotMatch),
        Change("public_jwk of another use",
            """update token_service.signing_key set public_jwk = public_jwk || '{"use":"enc"}' where kid = @kid""",
            DoesNotMatch),
        Change("ends_by", "update token_service.signing_key set ends_by = ends_by + interval '1 year' where kid = @kid", DoesNotOpen),
        Change("no ends_by", "update token_service.signing_key set ends_by = null where kid = @kid", DoesNotOpen),
        Change("alg of another curve", "update token_service.signing_key set alg = 'ES384' where kid = @kid", DoesNotOpen),
        Change("alg of another kind of key", "update token_service.signing_key set alg = 'RS256' where kid = @kid", DoesNotOpen),
        Change("alg, and public_jwk to match",
            """
            update token_service.signing_key
            set alg = 'ES384', public_jwk = public_jwk || '{"alg":"ES384","crv":"P-384"}'
            where kid = @kid
            """, DoesNotOpen),
    ];

    // A running server has already opened the right private half, so only a start sees this change.
    private static IEnumerable<TestCaseData> Swaps() => [Change("private half of another key", ForeignPrivateKey, DoesNotOpen)];

    [SetUp]
    public async Task CreateDatabase() => database = await Database.CreateAsync();

    [TearDown]
    public async Task DropDatabase() => await database.DisposeAsync();

    [TestCaseSource(nameof(Changes))]
    [TestCaseSource(nameof(Swaps))]
    public async Task A_server_does_not_start_with_a_tampered_key_row(string sql, string message)
    {
        string kid;
        await using (var server = await TestServer.StartAsync(database))
            kid = (await KidsAsync(server))[1];

        await database.ExecuteAsync(sql, new { kid });

        await RefusesToStartAsync(kid, message);
    }

    // RS256 and PS256 keys differ only in their algorithm.
    [Test, Rfc(8725, "3.1")]
    public async Task A_server_does_not_start_when_the_algorithm_of_an_RSA_key_was_changed()
    {
        string[] settings = ["Keys:Algorithm=RS256", "Keys:RsaKeySize=2048"];
        string kid;
        await using (var server = await TestServer.StartAsync(database, settings))
            kid = (await KidsAsync(server))[1];

        await database.ExecuteAsync(
            """
            update token_service.signing_key
            set alg = 'PS256', public_jwk = public_jwk || '{"alg":"PS256"}'
            where kid = @kid
            """,
            new { kid });

        await RefusesToStartAsync(kid, DoesNotOpen, settings);
    }

    [TestCaseSource(nameof(Changes))]
    public async Task A_running_server_stops_publishing_a_key_whose_row_was_tampered_with(string sql, string message)
    {
        await using var server = await TestServer.StartAsync(database);
        var kids = await KidsAsync(server);
        var (signing, changed) = (kids[0], kids[1]);

        await database.ExecuteAsync(sql, new { kid = changed });

        await StopsPublishingAsync(changed, message, server);
        Assert.That(await KidsAsync(server), Does.Contain(signing));
    }

    [Test]
    public async Task A_key_without_a_private_half_is_not_published()
    {
        await using var running = await TestServer.StartAsync(database);
        var kids = await KidsAsync(running);
        await database.ExecuteAsync(ForeignRow, new { kid = kids[0] });

        await StopsPublishingAsync("foreign", HasNoPrivateHalf, running);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(running.Services.GetRequiredService<SigningKeys>().Ring.Keys.Select(key => key.Kid), Does.Contain("foreign"));
            Assert.That(await KidsAsync(running), Is.EqualTo(kids));
        }

        await RefusesToStartAsync("foreign", HasNoPrivateHalf);
    }

    private async Task RefusesToStartAsync(string kid, string message, params string[] settings)
    {
        var refusal = await Assert.ThrowsAsync<OperatorException>(() => TestServer.StartAsync(database, settings));
        Assert.That(refusal!.Message, Is.EqualTo(WithKid(kid, message)));
    }

    private static async Task StopsPublishingAsync(string kid, string message, TestServer server)
    {
        var logged = $"Error TokenService.Keys.KeyRotation: {WithKid(kid, message)}";
        await Soon.IsAsync(
            "the log says so", () => server.Log.Lines.Any(line => line.StartsWith(logged, StringComparison.Ordinal)));
        Assert.That(await KidsAsync(server), Does.Not.Contain(kid));
    }

    private static string WithKid(string kid, string message) => message.Replace("KID", kid, StringComparison.Ordinal);

    private static async Task<string[]> KidsAsync(TestServer server) =>
        [.. (await PublishedKey.ReadAllAsync(server)).Select(key => key.Kid)];

    private static TestCaseData Change(string name, string sql, string message) =>
        new TestCaseData(sql, message).SetArgDisplayNames(name);
}
