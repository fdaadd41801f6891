using System.Globalization;
using Microsoft.Extensions.Options;
using TokenService.Secrets;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Secrets;

/// <summary>The cache of verified secrets.</summary>
[TestFixture]
public sealed class VerifiedSecrets
{
    private const string Secret = "a secret of another system";
    private const int Max = 50_000;

    private static readonly Argon2Digest Digest = Hash(1);

    private readonly VerifiedSecretCache cache = New();

    [Test]
    public void The_cache_knows_a_verified_secret_only_for_the_same_row_and_digest()
    {
        var row = Row("imported_1", Digest);
        cache.Add(row, cache.MacOf(row, Secret));
        using (Assert.EnterMultipleScope())
        {
            Assert.That(Knows(Row("imported_1", Hash(1)), Secret), "the same row and digest, read again");
            Assert.That(Knows(row, Secret + " "), Is.False);
            Assert.That(Knows(row, ""), Is.False);
            Assert.That(Knows(Row("imported_2", Digest), Secret), Is.False);
            Assert.That(Knows(Row("imported_1", Hash(2)), Secret), Is.False);
        }
    }

    [Test]
    public void The_cache_holds_only_the_last_verified_secret_of_a_row()
    {
        var (before, after) = (Row("imported_3", Digest), Row("imported_3", Hash(2)));
        cache.Add(before, cache.MacOf(before, Secret));
        cache.Add(after, cache.MacOf(after, Secret));

        Assert.That(Knows(before, Secret), Is.False);
        Assert.That(Knows(after, Secret));
    }

    // Without the sealing key an attacker cannot compute the MAC.
    [Test]
    public void Another_sealing_key_makes_other_MACs()
    {
        var row = Row("imported_1", Digest);
        Assert.That(New(sealingKey: 2).MacOf(row, Secret), Is.Not.EqualTo(cache.MacOf(row, Secret)));
    }

    [Test]
    public void The_MAC_key_is_not_the_sealing_key_itself() =>
        Assert.That(VerifiedSecretKey.Derive("test", new byte[32]).Key, Is.Not.EqualTo(new byte[32]));

    [Test]
    public void The_cache_has_room_for_the_longest_secret_of_the_longest_id()
    {
        var row = Row(new string('a', ClientSecret.MaxIdLength), Digest);
        var longest = new string('é', ClientSecret.MaxLength / 2);
        cache.Add(row, cache.MacOf(row, longest));
        Assert.That(Knows(row, longest));
        Assert.That(Knows(row, longest[1..]), Is.False);
    }

    [Test]
    public void The_full_cache_keeps_between_three_quarters_and_all_of_its_maximum()
    {
        var full = New();
        var mac = full.MacOf(Row("imported_1", Digest), Secret);
        var rows = Enumerable.Range(0, Max + 10_000).Select(i => Row(i.ToString(CultureInfo.InvariantCulture), Digest)).ToList();
        foreach (var row in rows)
            full.Add(row, mac);

        Assert.That(rows.Count(row => full.Recognise(row, Secret, mac) == Recognition.Current), Is.InRange(Max * 3 / 4, Max));
    }

    [Test]
    public void The_cache_and_a_row_print_neither_secret_nor_digest()
    {
        var printed = $"{cache} {Row("imported_1", Digest)}";
        Assert.That(printed, Does.Not.Contain(Secret).And.Not.Contain(Convert.ToBase64String(Digest.Hash).TrimEnd('=')));
    }

    // A secret that was verified once is hashed again, but is not treated as a guess.
    [TestCase(0, (int)Recognition.Current)]
    [TestCase(14, (int)Recognition.Current)]
    [TestCase(15, (int)Recognition.Recent)]
    [TestCase(29, (int)Recognition.Recent)]
    [TestCase(30, (int)Recognition.Old)]
    [TestCase(10_000, (int)Recognition.Old)]
    public void The_cache_tells_how_long_ago_a_secret_was_verified(int minutes, int expected)
    {
        var clock = new FakeClock();
        var later = New(clock: clock);
        var (row, changed) = (Row("imported_1", Digest), Row("imported_1", Hash(2)));
        later.Add(row, later.MacOf(row, Secret));
        clock.Advance(TimeSpan.FromMinutes(minutes));
        using (Assert.EnterMultipleScope())
        {
            Assert.That((int)later.Recognise(row, Secret, later.MacOf(row, Secret)), Is.EqualTo(expected));
            Assert.That(later.Recognise(row, "another", later.MacOf(row, "another")), Is.EqualTo(Recognition.None));
            Assert.That(later.Recognise(changed, Secret, later.MacOf(changed, Secret)), Is.EqualTo(Recognition.None));
        }
    }

    private bool Knows(ClientSecret row, string secret) => cache.Recognise(row, secret, cache.MacOf(row, secret)) == Recognition.Current;

    private static VerifiedSecretCache New(byte sealingKey = 1, FakeClock? clock = null)
    {
        var key = VerifiedSecretKey.Derive("test", Enumerable.Repeat(sealingKey, 32).ToArray());
        return new(
            Options.Create(new HashingOptions()), new VerifiedSecretKeys(key, [key]), new VerifiedSecretQueue(), clock ?? new FakeClock());
    }

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
