using System.Security.Cryptography;
using System.Text;
using TokenService.Configuration;
using TokenService.Keys;

namespace TokenService.Tests.Keys;

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
        Assert.That(() => key.Unseal(envelope, kid, algorithm), Throws.TypeOf<OperatorException>());
}
