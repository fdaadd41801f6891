using System.Security.Cryptography;
using System.Text;
using Microsoft.Extensions.Options;
using TokenService.Configuration;

namespace TokenService.Keys;

/// <summary>Seals private signing keys with AES-256-GCM, so that the database alone holds nothing that can sign.</summary>
/// <param name="Id">Which key it is; stored beside what it sealed.</param>
/// <param name="Key">32 bytes.</param>
internal sealed record SealingKey(string Id, byte[] Key)
{
    private const int KeyLength = 32;
    private const int NonceLength = 12;
    private const int TagLength = 16;

    public static bool IsWellFormed(string base64)
    {
        Span<byte> key = stackalloc byte[KeyLength];
        var isKey = Convert.TryFromBase64String(base64, key, out var length) && length == KeyLength;
        CryptographicOperations.ZeroMemory(key);
        return isKey;
    }

    /// <summary>Nonce, tag and ciphertext, one after the other.</summary>
    /// <param name="plaintext">The private key.</param>
    /// <param name="kid">Whose it is. Sealed in as associated data, so that one row's key cannot be put into another.</param>
    /// <param name="algorithm">What it signs with. Sealed in too, so that it cannot be put to another use (RFC 8725 §3.1).</param>
    public byte[] Seal(ReadOnlySpan<byte> plaintext, string kid, string algorithm)
    {
        var envelope = new byte[NonceLength + TagLength + plaintext.Length];
        var nonce = envelope.AsSpan(0, NonceLength);
        var tag = envelope.AsSpan(NonceLength, TagLength);
        var ciphertext = envelope.AsSpan(NonceLength + TagLength);
        // Random, and safe as such: a sealing key seals a handful of keys a year, far from the 2^32 that GCM allows it.
        RandomNumberGenerator.Fill(nonce);
        using var aes = new AesGcm(Key, TagLength);
        aes.Encrypt(nonce, plaintext, ciphertext, tag, AssociatedData(kid, algorithm));
        return envelope;
    }

    /// <summary>What was sealed. The caller clears it after use.</summary>
    /// <exception cref="OperatorException">It was not sealed with this key, for this kid and algorithm.</exception>
    public byte[] Unseal(byte[] envelope, string kid, string algorithm)
    {
        try
        {
            var nonce = envelope.AsSpan(0, NonceLength);
            var tag = envelope.AsSpan(NonceLength, TagLength);
            var ciphertext = envelope.AsSpan(NonceLength + TagLength);
            var plaintext = new byte[ciphertext.Length];
            using var aes = new AesGcm(Key, TagLength);
            aes.Decrypt(nonce, ciphertext, tag, plaintext, AssociatedData(kid, algorithm));
            return plaintext;
        }
        catch (Exception e) when (e is CryptographicException or ArgumentOutOfRangeException)
        {
            throw new OperatorException(
                $"The sealing key \"{Id}\" does not open the signing key {kid}: the value configured under that id is not the one "
                + "that sealed it, or the row was changed.", e);
        }
    }

    // A record's own ToString would print the key into any log that is handed one of these.
    public override string ToString() => Id;

    private static byte[] AssociatedData(string kid, string algorithm) => Encoding.UTF8.GetBytes($"{kid} {algorithm}");
}

/// <summary>A private signing key as the database has it.</summary>
/// <param name="Kid">Whose private half it is.</param>
/// <param name="Algorithm">What it signs with.</param>
/// <param name="Envelope">Nonce, tag and ciphertext.</param>
/// <param name="SealingKeyId">Which sealing key opens it.</param>
internal sealed record SealedKey(string Kid, string Algorithm, byte[] Envelope, string SealingKeyId);

/// <summary>The configured sealing keys.</summary>
internal sealed class SealingKeys(IOptions<KeyOptions> options)
{
    // Read when first used: a command that only looks at keys does without.
    private readonly Lazy<Dictionary<string, SealingKey>> keys = new(() => options.Value.AllSealingKeys().ToDictionary(
        entry => entry.Id, entry => new SealingKey(entry.Id, Convert.FromBase64String(entry.Base64)), StringComparer.Ordinal));

    /// <summary>The one that seals from now on.</summary>
    public SealingKey Current => keys.Value[options.Value.SealingKeyId ?? keys.Value.Keys.Single()];

    /// <summary>The private half as PKCS #8. The caller clears it after use.</summary>
    /// <exception cref="OperatorException">The sealing key it takes is not configured, or is another.</exception>
    public byte[] Unseal(SealedKey key) =>
        keys.Value.TryGetValue(key.SealingKeyId, out var sealingKey)
            ? sealingKey.Unseal(key.Envelope, key.Kid, key.Algorithm)
            : throw new OperatorException(
                $"The signing key {key.Kid} is sealed with the sealing key \"{key.SealingKeyId}\", which is not configured. "
                + $"Set Keys:SealingKeys:{key.SealingKeyId} or Keys:SealingKeyFiles:{key.SealingKeyId}.");
}
