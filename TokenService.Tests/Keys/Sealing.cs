using System.Security.Cryptography;
using System.Text;
using TokenService.Configuration;
using TokenService.Keys;

namespace TokenService.Tests.Keys;

/// <summary>A private key is sealed with AES-256-GCM, bound to its kid and algorithm.</summary>
[TestFixture]
public sealed class Sealing
{
    private const string Kid = "the kid";
    private const string Algorithm = "ES256";

    private static readonly byte[] Plaintext = Encoding.ASCII.GetBytes("a private key, such as PKCS #8 has it");

    private static readonly SealBinding Binding = new(Kid, Algorithm, DateTimeOffset.FromUnixTimeSeconds(1_800_000_000));

    private readonly SealingKey key = new("test", RandomNumberGenerator.GetBytes(32));

    [Test]
    public void A_sealed_private_key_is_unsealed() =>
        Assert.That(key.Unseal(key.Seal(Plaintext, Binding), Binding), Is.EqualTo(Plaintext));

    [Test]
    public void Each_seal_has_its_own_nonce()
    {
        var nonces = Enumerable.Range(0, 100).Select(
            _ => Convert.ToHexString(key.Seal(Plaintext, Binding)[..12]));
        Assert.That(nonces, Is.Unique);
    }

    [Test]
    public void Unsealing_with_another_kid_is_refused() =>
        IsRefused(key, key.Seal(Plaintext, Binding), Binding with { Kid = "another kid" });

    [Test]
    public void Unsealing_with_another_algorithm_is_refused() =>
        IsRefused(key, key.Seal(Plaintext, Binding), Binding with { Algorithm = "ES384" });

    [Test]
    public void Unsealing_with_another_end_of_life_is_refused()
    {
        var envelope = key.Seal(Plaintext, Binding);
        IsRefused(key, envelope, Binding with { EndsBy = Binding.EndsBy + TimeSpan.FromSeconds(1) });
        IsRefused(key, envelope, Binding with { EndsBy = null });
        IsRefused(key, key.Seal(Plaintext, Binding with { EndsBy = null }), Binding);
    }

    [Test]
    public void Unsealing_with_another_sealing_key_is_refused() =>
        IsRefused(new SealingKey("test", RandomNumberGenerator.GetBytes(32)), key.Seal(Plaintext, Binding), Binding);

    [Test]
    public void An_envelope_with_a_changed_byte_at_any_position_is_refused()
    {
        var envelope = key.Seal(Plaintext, Binding);
        for (var i = 0; i < envelope.Length; i++)
        {
            envelope[i] ^= 1;
            IsRefused(key, envelope, Binding);
            envelope[i] ^= 1;
        }
    }

    [Test]
    public void An_envelope_cut_to_any_length_is_refused()
    {
        var envelope = key.Seal(Plaintext, Binding);
        for (var length = 0; length < envelope.Length; length++)
            IsRefused(key, envelope[..length], Binding);
    }

    private static void IsRefused(SealingKey key, byte[] envelope, SealBinding binding) =>
        Assert.That(() => key.Unseal(envelope, binding), Throws.TypeOf<OperatorException>());
}
