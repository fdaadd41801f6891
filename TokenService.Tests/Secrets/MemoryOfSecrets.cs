using System.Globalization;
using Microsoft.Extensions.Options;
using TokenService.Secrets;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Secrets;

/// <summary>What is kept of a secret that has proved right.</summary>
[TestFixture]
public sealed class MemoryOfSecrets
{
    private const string Secret = "a secret of another system";
    private const int Most = 50_000;

    private static readonly Argon2Digest Digest = Hash(1);

    private readonly VerifiedSecretCache remembered = New();

    [Test]
    public void Only_that_secret_of_that_row_with_that_digest_is_known()
    {
        var row = Row("imported_1", Digest);
        remembered.Remember(row, remembered.MacOf(row, Secret));
        using (Assert.EnterMultipleScope())
        {
            Assert.That(Knows(Row("imported_1", Hash(1)), Secret), "the same, read again");
            Assert.That(Knows(row, Secret + " "), Is.False);
            Assert.That(Knows(row, ""), Is.False);
            Assert.That(Knows(Row("imported_2", Digest), Secret), Is.False);
            Assert.That(Knows(Row("imported_1", Hash(2)), Secret), Is.False);
        }
    }

    [Test]
    public void A_row_has_one_secret_the_last_that_proved_right()
    {
        var (before, after) = (Row("imported_3", Digest), Row("imported_3", Hash(2)));
        remembered.Remember(before, remembered.MacOf(before, Secret));
        remembered.Remember(after, remembered.MacOf(after, Secret));

        Assert.That(Knows(before, Secret), Is.False);
        Assert.That(Knows(after, Secret));
    }

    // What makes it a MAC: nobody can compute it, and it means nothing to another process.
    [Test]
    public void Each_server_has_a_key_of_its_own() =>
        Assert.That(New().MacOf(Row("imported_1", Digest), Secret), Is.Not.EqualTo(remembered.MacOf(Row("imported_1", Digest), Secret)));

    [Test]
    public void The_longest_secret_of_the_longest_id_has_room()
    {
        var row = Row(new string('a', ClientSecret.MaxIdLength), Digest);
        var longest = new string('é', ClientSecret.MaxLength / 2);
        remembered.Remember(row, remembered.MacOf(row, longest));
        Assert.That(Knows(row, longest));
        Assert.That(Knows(row, longest[1..]), Is.False);
    }

    [Test]
    public void It_is_bounded_and_the_latest_are_among_the_rest()
    {
        var full = New();
        var mac = full.MacOf(Row("imported_1", Digest), Secret);
        var rows = Enumerable.Range(0, Most + 10_000).Select(i => Row(i.ToString(CultureInfo.InvariantCulture), Digest)).ToList();
        foreach (var row in rows)
            full.Remember(row, mac);

        Assert.That(rows.Count(row => full.Knows(row, mac)), Is.InRange(Most * 3 / 4, Most));
    }

    [Test]
    public void Nothing_of_it_is_printed()
    {
        var printed = $"{remembered} {Row("imported_1", Digest)}";
        Assert.That(printed, Does.Not.Contain(Secret).And.Not.Contain(Convert.ToBase64String(Digest.Hash).TrimEnd('=')));
    }

    // What it once knew is hashed again, and is no guess.
    [Test]
    public void When_the_memory_ends_it_is_known_to_have_been_right()
    {
        var clock = new FakeClock();
        var memory = new VerifiedSecretCache(Options.Create(new HashingOptions()), clock);
        var row = Row("imported_1", Digest);
        var (right, wrong) = (memory.MacOf(row, Secret), memory.MacOf(row, "another"));
        memory.Remember(row, right);
        clock.Advance(TimeSpan.FromMinutes(15));
        using (Assert.EnterMultipleScope())
        {
            Assert.That(memory.Knows(row, right), Is.False);
            Assert.That(memory.Knew(row, right));
            Assert.That(memory.Knew(row, wrong), Is.False);
            Assert.That(memory.Knew(Row("imported_1", Hash(2)), memory.MacOf(Row("imported_1", Hash(2)), Secret)), Is.False);
        }
    }

    private bool Knows(ClientSecret row, string secret) => remembered.Knows(row, remembered.MacOf(row, secret));

    private static VerifiedSecretCache New() => new(Options.Create(new HashingOptions()), new FakeClock());

    private static Argon2Digest Hash(byte value)
    {
        var hash = new byte[Argon2Digest.HashLength];
        Array.Fill(hash, value);
        return new Argon2Digest(Database.Cheap, new byte[Argon2Digest.SaltLength], hash);
    }

    private static ClientSecret Row(string id, Argon2Digest digest) => new()
    {
        Id = id,
        Digest = digest,
        NotBefore = DateTimeOffset.MinValue,
        ExpiresAt = null,
        RevokedAt = null,
        HasBegun = true,
        IsOver = false,
    };
}
