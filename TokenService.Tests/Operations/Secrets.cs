using System.IO.Compression;
using System.Text;
using Dapper;
using TokenService.Clients;
using TokenService.Limits;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Operations;

/// <summary>The secrets this server makes: <c>tsvc_</c>, a selector, 256 random bits, a checksum.</summary>
[TestFixture]
public sealed class GeneratedSecrets
{
    private const string Base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

    private readonly GeneratedSecret secret = GeneratedSecret.Create();

    [Test, Repeat(100)]
    public void A_secret_has_the_shape_a_scanner_looks_for()
    {
        var made = GeneratedSecret.Create();
        Assert.That(made.Value, Does.Match(@"\Atsvc_[0-9A-Za-z]{12}_[0-9A-Za-z]{49}\z"));
        Assert.That(made.Selector, Is.EqualTo(made.Value[5..17]));
    }

    // 43 characters of 62 are 256 bits, if each is drawn from all of them: 1000 secrets draw each character some 700 times.
    [Test, Rfc(6749, "10.10")]
    public void A_secret_is_256_random_bits()
    {
        var random = Enumerable.Range(0, 1000).Select(_ => GeneratedSecret.Create().Value[18..61]).ToList();
        Assert.That(random, Is.Unique);
        Assert.That(random.SelectMany(characters => characters).Distinct().Order(), Is.EqualTo(Base62));
    }

    [Test]
    public void A_secret_is_read_back()
    {
        Assert.That(GeneratedSecret.TryParse(secret.Value, out var read), Is.True);
        Assert.That(read, Is.EqualTo(secret));
    }

    [Test]
    public void A_changed_character_is_caught_wherever_it_is()
    {
        foreach (var position in Enumerable.Range(0, secret.Value.Length))
        {
            var (before, after) = (secret.Value[..position], secret.Value[(position + 1)..]);
            var others = (Base62 + "_- é").Where(c => c != secret.Value[position]);
            Assert.That(others.Where(other => GeneratedSecret.TryParse($"{before}{other}{after}", out _)), Is.Empty, $"at {position}");
        }
    }

    [Test]
    public void A_cut_or_lengthened_secret_is_caught([Range(0, 67)] int position)
    {
        using (Assert.EnterMultipleScope())
        {
            Assert.That(GeneratedSecret.TryParse(secret.Value[..Math.Min(position, 66)], out _), Is.False);
            Assert.That(GeneratedSecret.TryParse(secret.Value.Insert(position, "0"), out _), Is.False);
        }
    }

    [Test]
    public void The_checksum_is_CRC_32_of_all_before_it_in_base62()
    {
        Assert.That(Crc32("123456789"), Is.EqualTo(0xCBF43926), "the check value every description of CRC-32 gives");

        var checksum = secret.Value[^6..].Aggregate(0L, (number, digit) => number * 62 + Base62.IndexOf(digit, StringComparison.Ordinal));
        Assert.That(checksum, Is.EqualTo(Crc32(secret.Value[..^6])));
    }

    // A zip file holds the CRC-32 of each entry, computed by code that is not ours.
    private static uint Crc32(string text)
    {
        using var file = new MemoryStream();
        using (var zip = new ZipArchive(file, ZipArchiveMode.Create, leaveOpen: true))
        using (var entry = zip.CreateEntry("text").Open())
            entry.Write(Encoding.ASCII.GetBytes(text));
        return new ZipArchive(file).Entries[0].Crc32;
    }
}

/// <summary>What is kept of a secret: an Argon2id PHC string, which the program and the database read alike.</summary>
[TestFixture]
public sealed class SecretDigests
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
    public async Task Program_and_database_take_the_same_strings_for_a_digest(string phc, bool valid)
    {
        using (Assert.EnterMultipleScope())
        {
            Assert.That(SecretDigest.TryParse(phc, out var digest), Is.EqualTo(valid), "the program");
            Assert.That(digest?.ToString(), Is.EqualTo(valid ? phc : null), "written as it was read");
            Assert.That(await IsDigestAsync(phc), Is.EqualTo(new[] { valid }), "the database");
        }
    }

    [TestCase(Salt, "==")]
    [TestCase(Hash, "=")]
    public async Task One_digest_has_one_spelling(string part, string padding)
    {
        // Base64 leaves bits of the last character unused. Only one of the characters that differ in them is what an encoder writes.
        var parts = Base64.Select(last => part[..^1] + last).ToArray();
        var canonical = parts.Select(p => Convert.ToBase64String(Convert.FromBase64String(p + padding)) == p + padding).ToArray();
        var digests = parts.Select(p => Valid.Replace(part, p, StringComparison.Ordinal)).ToArray();

        using (Assert.EnterMultipleScope())
        {
            Assert.That(canonical.Distinct().Count(), Is.EqualTo(2));
            Assert.That(digests.Select(phc => SecretDigest.TryParse(phc, out _)), Is.EqualTo(canonical), "the program");
            Assert.That(await IsDigestAsync(digests), Is.EqualTo(canonical), "the database");
        }
    }

    [TestCase("password", ExpectedResult = true)]
    [TestCase("Password", ExpectedResult = false)]
    [TestCase("", ExpectedResult = false)]
    public bool? Argon2id_gives_the_answer_of_the_reference_implementation(string password)
    {
        var digest = new SecretDigest(
            new Argon2Cost(MemoryKiB: 19456, Iterations: 2),
            "somesaltsomesalt"u8.ToArray(),
            Convert.FromHexString("2b5dc4054886ec957ef59c73b661c54dd6fb274590b278f657c6d96aac8fa6d1"));
        return SecretHasher.Matches(password, digest);
    }

    [Test]
    public void A_secret_is_salted()
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

[TestFixture]
public sealed class CostOfDigests : ServerFixture
{
    // The cost is configured for new digests only: raising or lowering it locks nobody out.
    [TestCase(8192, 1)]
    [TestCase(19456, 2)]
    [TestCase(65536, 3)]
    public async Task A_digest_weaker_or_stronger_than_configured_still_verifies(int memoryKiB, int iterations)
    {
        var secret = GeneratedSecret.Create();
        var digest = SecretHasher.Hash(secret.Value, new Argon2Cost(memoryKiB, iterations))!.ToString();
        await Database.ExecuteAsync(
            "select token_service.add_secret('billing', @Selector, @digest)", new { secret.Selector, digest });

        (await TokenRequestBuilder.For(Client with { Secret = secret.Value }).SendAsync(Server)).IsGrant("invoices:read");
    }
}
