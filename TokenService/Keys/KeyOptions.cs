using System.ComponentModel.DataAnnotations;
using Microsoft.Extensions.Options;
using TokenService.Configuration;

namespace TokenService.Keys;

/// <summary>Options of signing keys and of the keys that seal them. Section <c>Keys</c>.</summary>
internal sealed class KeyOptions : IValidatableObject
{
    public const string Section = "Keys";

    /// <summary>
    /// The keys that seal private signing keys at rest, by id: 32 random bytes each, in Base64. At least one is
    /// required. Make one with <c>openssl rand -base64 32</c>. An id is 1 to 64 letters, digits, <c>.</c>, <c>_</c> and
    /// <c>-</c>.
    /// </summary>
    public Dictionary<string, string> SealingKeys { get; set; } = [];

    /// <summary>Sealing keys in files, by id: the path of a file that holds the key in Base64.</summary>
    public Dictionary<string, string> SealingKeyFiles { get; set; } = [];

    /// <summary>The id of the sealing key for new seals. Optional while there is only one sealing key.</summary>
    public string? SealingKeyId { get; set; }

    /// <summary>How long verifiers may keep the JWKS, 1 second to 1 day. Default 5 minutes.</summary>
    [TimeRange("00:00:01", "1.00:00:00", ErrorMessage = "Keys:JwksMaxAge must be 00:00:01 to 1.00:00:00.")]
    public TimeSpan JwksMaxAge { get; set; } = TimeSpan.FromMinutes(5);

    /// <summary>
    /// The algorithm of tokens for resources that do not ask for another: ES256 (default), ES384, RS256 or PS256. A
    /// change takes effect once every verifier has the new algorithm's first key.
    /// </summary>
    [AllowedValues("ES256", "ES384", "RS256", "PS256", ErrorMessage = "Keys:Algorithm must be ES256, ES384, RS256 or PS256.")]
    public string Algorithm { get; set; } = "ES256";

    /// <summary>Bits of new RSA keys: 2048, 3072 (default) or 4096.</summary>
    [AllowedValues(2048, 3072, 4096, ErrorMessage = "Keys:RsaKeySize must be 2048, 3072 or 4096 (bits).")]
    public int RsaKeySize { get; set; } = 3072;

    /// <summary>How long a key signs, 1 hour to 400 days. Default 30 days.</summary>
    [TimeRange("01:00:00", "400.00:00:00", ErrorMessage = "Keys:SigningPeriod must be 01:00:00 to 400.00:00:00.")]
    public TimeSpan SigningPeriod { get; set; } = TimeSpan.FromDays(30);

    /// <summary>The sealing keys of both kinds, in Base64.</summary>
    /// <exception cref="IOException">A file cannot be read.</exception>
    /// <exception cref="UnauthorizedAccessException">This process has no right to read a file.</exception>
    public IEnumerable<(string Id, string Base64)> AllSealingKeys() =>
        SealingKeys.Select(entry => (entry.Key, entry.Value))
            .Concat(SealingKeyFiles.Select(entry => (entry.Key, File.ReadAllText(entry.Value).Trim())));

    public IEnumerable<ValidationResult> Validate(ValidationContext validationContext)
    {
        var ids = SealingKeys.Keys.Concat(SealingKeyFiles.Keys).ToList();
        if (ids.Count == 0)
        {
            yield return new("Keys:SealingKeys is empty. Set Keys:SealingKeys:<id> to 32 random bytes in Base64, "
                + "such as openssl rand -base64 32 prints, or Keys:SealingKeyFiles:<id> to a file that holds them.");
        }

        var unreadable = SealingKeyFiles.Where(entry => !IsReadable(entry.Value)).ToList();
        foreach (var (id, path) in unreadable)
            yield return new($"Keys:SealingKeyFiles:{id} names {path}, which does not exist or cannot be read.");
        if (unreadable.Count > 0)
            yield break;

        foreach (var (id, base64) in AllSealingKeys())
        {
            if (id.Length > 64 || !id.All(c => char.IsAsciiLetterOrDigit(c) || c is '.' or '_' or '-'))
                yield return new("Keys:SealingKeys has an id that is not 1 to 64 letters, digits, '.', '_' and '-'.");

            // The value is a secret, so the message does not show it.
            else if (!SealingKey.IsWellFormed(base64))
                yield return new($"Keys:SealingKeys:{id} must be 32 bytes in Base64.");
        }

        if (ids.Distinct(StringComparer.Ordinal).Count() < ids.Count)
            yield return new("Keys:SealingKeys and Keys:SealingKeyFiles have an id in common.");
        else if (SealingKeyId is { } current && !ids.Contains(current))
            yield return new("Keys:SealingKeyId must be the id of one of Keys:SealingKeys.");
        else if (SealingKeyId is null && ids.Count > 1)
            yield return new("Keys:SealingKeyId must say which of the several Keys:SealingKeys seals from now on.");
    }

    private static bool IsReadable(string path)
    {
        try
        {
            File.OpenRead(path).Dispose();
            return true;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException)
        {
            return false;
        }
    }
}

/// <summary>Validates <see cref="KeyOptions.Algorithm"/> against the profile.</summary>
internal sealed class KeyProfileValidation(ServerProfile profile) : IValidateOptions<KeyOptions>
{
    public ValidateOptionsResult Validate(string? name, KeyOptions options) =>
        profile.AllowsAlgorithm(options.Algorithm)
            ? ValidateOptionsResult.Success
            : ValidateOptionsResult.Fail($"Keys:Algorithm must be ES256 or PS256 under Profile={profile.Name}.");
}
