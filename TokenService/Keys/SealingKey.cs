using System.Security.Cryptography;
using System.Text;
using Microsoft.Extensions.Options;
using TokenService.Configuration;
using TokenService.Secrets;

namespace TokenService.Keys;

/// <summary>Seals private signing keys with AES-256-GCM, so that nobody can sign with the database alone.</summary>
/// <param name="Id">The id from the settings; stored beside each private key that this key sealed.</param>
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

    /// <summary>Encrypts a private key.</summary>
    /// <param name="plaintext">The private key.</param>
    /// <param name="binding">The associated data: the private key opens for nothing else.</param>
    /// <returns>Nonce, tag and ciphertext, one after the other.</returns>
    public byte[] Seal(ReadOnlySpan<byte> plaintext, SealBinding binding)
    {
        var envelope = new byte[NonceLength + TagLength + plaintext.Length];
        var nonce = envelope.AsSpan(0, NonceLength);
        var tag = envelope.AsSpan(NonceLength, TagLength);
        var ciphertext = envelope.AsSpan(NonceLength + TagLength);
        // A random nonce is safe here: a sealing key seals a few keys a year, and GCM allows 2^32 random nonces per
        // key.
        RandomNumberGenerator.Fill(nonce);
        using var aes = new AesGcm(Key, TagLength);
        aes.Encrypt(nonce, plaintext, ciphertext, tag, binding.ToUtf8());
        return envelope;
    }

    /// <summary>Decrypts a private key. The caller overwrites it with zeros after use.</summary>
    /// <exception cref="OperatorException">
    /// The envelope was not sealed with this key, or for another binding.
    /// </exception>
    public byte[] Unseal(byte[] envelope, SealBinding binding)
    {
        try
        {
            var nonce = envelope.AsSpan(0, NonceLength);
            var tag = envelope.AsSpan(NonceLength, TagLength);
            var ciphertext = envelope.AsSpan(NonceLength + TagLength);
            var plaintext = new byte[ciphertext.Length];
            using var aes = new AesGcm(Key, TagLength);
            aes.Decrypt(nonce, ciphertext, tag, plaintext, binding.ToUtf8());
            return plaintext;
        }
        catch (Exception e) when (e is CryptographicException or ArgumentOutOfRangeException)
        {
            throw new OperatorException(
                $"The sealing key \"{Id}\" does not open the signing key {binding.Kid}: the value configured under that id is not the one "
                + "that sealed it, or the row was changed.", e);
        }
    }

    /// <summary>A key of 32 bytes for another purpose (RFC 5869).</summary>
    public byte[] Derive(byte[] purpose) => HKDF.DeriveKey(HashAlgorithmName.SHA256, Key, KeyLength, info: purpose);

    // A record's own ToString would print the key into any log that is handed one of these.
    public override string ToString() => Id;
}

/// <summary>Keys for one purpose, one from each configured sealing key.</summary>
/// <param name="Current">From the sealing key for new seals.</param>
/// <param name="All">From each sealing key.</param>
internal sealed record DerivedKeys(byte[] Current, IReadOnlyList<byte[]> All);

/// <summary>A seal binds a private key to these properties of its row.</summary>
/// <param name="Kid">A private key that was copied into another row does not open.</param>
/// <param name="Algorithm">A key cannot be used for another algorithm (RFC 8725 §3.1).</param>
/// <param name="EndsBy">
/// The end of the key's life, in whole seconds: an old row cannot be given another one. Null: the key was made before
/// seals had it.
/// </param>
internal sealed record SealBinding(string Kid, string Algorithm, DateTimeOffset? EndsBy)
{
    public byte[] ToUtf8() =>
        Encoding.UTF8.GetBytes(EndsBy is { } end ? $"{Kid} {Algorithm} {end.ToUnixTimeSeconds()}" : $"{Kid} {Algorithm}");
}

/// <summary>A sealed private key as the database has it.</summary>
/// <param name="Envelope">Nonce, tag and ciphertext.</param>
/// <param name="SealingKeyId">The id of the sealing key that opens it.</param>
internal sealed record SealedKey(string Kid, string Algorithm, byte[] Envelope, string SealingKeyId, DateTime? EndsBy)
{
    public SealBinding Binding => new(Kid, Algorithm, EndsBy);
}

/// <summary>The configured sealing keys.</summary>
internal sealed class SealingKeys(IOptions<KeyOptions> options)
{
    // Read at the first use, so that a command that only lists keys needs no sealing key.
    private readonly Lazy<Dictionary<string, SealingKey>> keys = new(() => options.Value.AllSealingKeys().ToDictionary(
        entry => entry.Id, entry => new SealingKey(entry.Id, Convert.FromBase64String(entry.Base64)), StringComparer.Ordinal));

    /// <summary>The sealing key for new seals.</summary>
    public SealingKey Current => keys.Value[options.Value.SealingKeyId ?? keys.Value.Keys.Single()];

    /// <summary>The keys for MACs of verified secrets, which follow from the sealing keys.</summary>
    public VerifiedSecretKeys ForVerifiedSecrets()
    {
        var derived = keys.Value.Values.ToDictionary(key => key.Id, key => VerifiedSecretKey.Derive(key.Id, key.Key));
        return new VerifiedSecretKeys(derived[Current.Id], derived.Values);
    }

    /// <summary>Keys for another purpose, which follow from the sealing keys.</summary>
    public DerivedKeys Derive(byte[] purpose) =>
        new(Current.Derive(purpose), [.. keys.Value.Values.Select(key => key.Derive(purpose))]);

    /// <summary>Decrypts a private key, in PKCS #8. The caller overwrites it with zeros after use.</summary>
    /// <exception cref="OperatorException">
    /// The sealing key is not configured, or its configured value is wrong.
    /// </exception>
    public byte[] Unseal(SealedKey key) =>
        keys.Value.TryGetValue(key.SealingKeyId, out var sealingKey)
            ? sealingKey.Unseal(key.Envelope, key.Binding)
            : throw new OperatorException(
                $"The signing key {key.Kid} is sealed with the sealing key \"{key.SealingKeyId}\", which is not configured. "
                + $"Set Keys:SealingKeys:{key.SealingKeyId} or Keys:SealingKeyFiles:{key.SealingKeyId}.");
}
