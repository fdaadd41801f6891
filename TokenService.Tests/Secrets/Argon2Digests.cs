using Dapper;
using TokenService.Secrets;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Secrets;

/// <summary>A secret is stored as an Argon2id PHC string, which the program and the database read alike.</summary>
[TestFixture]
public sealed class Argon2Digests
{
    private const string Salt = "c29tZXNhbHRzb21lc2FsdA";
    private const string Hash = "K13EBUiG7JVe9Zxzthx1TW+yJ0WQsnjyV8bZaqyPptE";
    private const string Valid = $"$argon2id$v=19$m=19456,t=2,p=1${Salt}${Hash}";

    private const string Base64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    private Database database = null!;

    private static IEnumerable<TestCaseData<string, bool>> Table =>
    [
        new(Valid, true),
        .. Costs(
            ("m=8192,t=1", true), ("m=65536,t=10", true), ("m=8191,t=2", false), ("m=65537,t=2", false), ("m=99999,t=2", false),
            ("m=999,t=2", false), ("m=100000,t=2", false), ("m=019456,t=2", false), ("m=+19456,t=2", false), ("m=-19456,t=2", false),
            ("m= 19456,t=2", false), ("m=19456.0,t=2", false), ("m=,t=2", false), ("m=99999999999999999999,t=2", false),
            ("m=１９４５６,t=2", false), ("m=19456,t=0", false), ("m=19456,t=11", false), ("m=19456,t=02", false),
            ("m=19456,t=100", false), ("m=19456,t=", false), ("t=2,m=19456", false), ("m=19456;t=2", false), ("m=19456, t=2", false)),
        .. new[]
        {
            "", "$", "a plaintext secret", Valid[1..], Valid[..^1], Valid + "A", Valid + "=", Valid + "$", Valid + " ", Valid + "\n",
            " " + Valid, "\n" + Valid, Valid + "\n" + Valid, Valid.ToUpperInvariant(),
            Valid.Replace("argon2id", "argon2i"), Valid.Replace("argon2id", "argon2d"), Valid.Replace("argon2id", "scrypt"),
            Valid.Replace("v=19", "v=16"), Valid.Replace("v=19$", ""), Valid.Replace("v=19", "v=019"),
            Valid.Replace("p=1", "p=2"), Valid.Replace("p=1", "p=0"), Valid.Replace(",p=1", ""), Valid.Replace("p=1", "p=1,keyid=AAAA"),
            Valid.Replace(Salt, ""), Valid.Replace(Salt, Salt[..^1]), Valid.Replace(Salt, Salt + "A"), Valid.Replace(Salt, Salt + "=="),
            Valid.Replace(Hash, ""), Valid.Replace(Hash, Hash[..^1] + "="), Valid.Replace("+", "-"), Valid.Replace("+", "é"),
        }.Select(phc => new TestCaseData<string, bool>(phc, false)),
    ];

    [OneTimeSetUp]
    public async Task CreateDatabase() => database = await Database.CreateAsync();

    [OneTimeTearDown]
    public async Task DropDatabase() => await database.DisposeAsync();

    [TestCaseSource(nameof(Table))]
    public async Task The_program_and_the_database_accept_the_same_digests(string phc, bool valid)
    {
        using (Assert.EnterMultipleScope())
        {
            Assert.That(Argon2Digest.TryParse(phc, out var digest), Is.EqualTo(valid), "the program");
            Assert.That(digest?.ToString(), Is.EqualTo(valid ? phc : null), "written as it was read");
            Assert.That(await IsDigestAsync(phc), Is.EqualTo(new[] { valid }), "the database");
        }
    }

    [TestCase(Salt, "==")]
    [TestCase(Hash, "=")]
    public async Task A_digest_has_only_one_spelling(string part, string padding)
    {
        // Base64 leaves bits of the last character unused. Of the characters that differ only in those bits, an encoder
        // writes one.
        var parts = Base64.Select(last => part[..^1] + last).ToArray();
        var canonical = parts.Select(p => Convert.ToBase64String(Convert.FromBase64String(p + padding)) == p + padding).ToArray();
        var digests = parts.Select(p => Valid.Replace(part, p, StringComparison.Ordinal)).ToArray();

        using (Assert.EnterMultipleScope())
        {
            Assert.That(canonical.Distinct().Count(), Is.EqualTo(2));
            Assert.That(digests.Select(phc => Argon2Digest.TryParse(phc, out _)), Is.EqualTo(canonical), "the program");
            Assert.That(await IsDigestAsync(digests), Is.EqualTo(canonical), "the database");
        }
    }

    [Test]
    public void Digests_of_the_same_secret_differ()
    {
        var digests = Enumerable.Range(0, 3).Select(_ => Database.Digest("the same secret")).ToList();
        Assert.That(digests, Is.Unique);
    }

    private async Task<bool[]> IsDigestAsync(params string[] digests)
    {
        await using var connection = await database.Source.OpenConnectionAsync();
        var answers = await connection.QueryAsync<bool>(
            "select token_service.is_argon2id_digest(d) from unnest(@digests) with ordinality as t (d, n) order by n", new { digests });
        return answers.ToArray();
    }

    private static IEnumerable<TestCaseData<string, bool>> Costs(params (string Cost, bool Valid)[] costs) =>
        costs.Select(c => new TestCaseData<string, bool>(Valid.Replace("m=19456,t=2", c.Cost, StringComparison.Ordinal), c.Valid));
}
