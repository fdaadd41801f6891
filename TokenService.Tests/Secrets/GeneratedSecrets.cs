using System.IO.Compression;
using System.Text;
using TokenService.Secrets;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Secrets;

/// <summary>The secrets this server makes: <c>tsvc_</c>, a selector, 256 random bits, a checksum.</summary>
[TestFixture]
public sealed class GeneratedSecrets
{
    private const string Base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

    private readonly GeneratedSecret secret = GeneratedSecret.Create();

    [Test, Repeat(100)]
    public void A_generated_secret_has_the_shape_that_secret_scanners_look_for()
    {
        var made = GeneratedSecret.Create();
        Assert.That(made.Value, Does.Match(@"\Atsvc_[0-9A-Za-z]{12}_[0-9A-Za-z]{49}\z"));
        Assert.That(made.Selector, Is.EqualTo(made.Value[5..17]));
    }

    // 43 characters carry 256 bits if each is drawn from all 62. A thousand secrets draw each character about 700
    // times.
    [Test, Rfc(6749, "10.10")]
    public void A_generated_secret_contains_256_random_bits()
    {
        var random = Enumerable.Range(0, 1000).Select(_ => GeneratedSecret.Create().Value[18..61]).ToList();
        Assert.That(random, Is.Unique);
        Assert.That(random.SelectMany(characters => characters).Distinct().Order(), Is.EqualTo(Base62));
    }

    [Test]
    public void A_generated_secret_is_parsed_back()
    {
        Assert.That(GeneratedSecret.TryParse(secret.Value, out var read), Is.True);
        Assert.That(read, Is.EqualTo(secret));
    }

    [Test]
    public void A_secret_with_a_changed_character_at_any_position_is_rejected()
    {
        foreach (var position in Enumerable.Range(0, secret.Value.Length))
        {
            var (before, after) = (secret.Value[..position], secret.Value[(position + 1)..]);
            var others = (Base62 + "_- é").Where(c => c != secret.Value[position]);
            Assert.That(others.Where(other => GeneratedSecret.TryParse($"{before}{other}{after}", out _)), Is.Empty, $"at {position}");
        }
    }

    [Test]
    public void A_cut_or_lengthened_secret_is_rejected([Range(0, 67)] int position)
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
        Assert.That(Crc32("123456789"), Is.EqualTo(0xCBF43926), "the check value in every description of CRC-32");

        var checksum = secret.Value[^6..].Aggregate(0L, (number, digit) => number * 62 + Base62.IndexOf(digit, StringComparison.Ordinal));
        Assert.That(checksum, Is.EqualTo(Crc32(secret.Value[..^6])));
    }

    // A zip file holds the CRC-32 of each entry, so this code is independent of the server's.
    private static uint Crc32(string text)
    {
        using var file = new MemoryStream();
        using (var zip = new ZipArchive(file, ZipArchiveMode.Create, leaveOpen: true))
        using (var entry = zip.CreateEntry("text").Open())
            entry.Write(Encoding.ASCII.GetBytes(text));
        return new ZipArchive(file).Entries[0].Crc32;
    }
}
