using System.ComponentModel.DataAnnotations;

namespace TokenService.Keys;

/// <summary>How signing keys are kept. Section <c>Keys</c>.</summary>
internal sealed class KeyOptions : IValidatableObject
{
    public const string Section = "Keys";

    /// <summary>
    /// The keys that seal private signing keys at rest, by id: 32 random bytes each, in Base64. At least one is required. Make
    /// one with <c>openssl rand -base64 32</c>. An id is 1 to 64 letters, digits, <c>.</c>, <c>_</c> and <c>-</c>.
    /// </summary>
    public Dictionary<string, string> SealingKeys { get; set; } = [];

    /// <summary>The id of the sealing key that seals from now on. May be left out while there is only one.</summary>
    public string? SealingKeyId { get; set; }

    /// <summary>How long verifiers may keep the JWKS, 1 second to 1 day. Default 5 minutes.</summary>
    [Range(typeof(TimeSpan), "00:00:01", "1.00:00:00", ErrorMessage = "Keys:JwksMaxAge must be 00:00:01 to 1.00:00:00.")]
    public TimeSpan JwksMaxAge { get; set; } = TimeSpan.FromMinutes(5);

    public IEnumerable<ValidationResult> Validate(ValidationContext validationContext)
    {
        if (SealingKeys.Count == 0)
        {
            yield return new("Keys:SealingKeys is empty. Set Keys:SealingKeys:<id> to 32 random bytes in Base64, "
                + "such as openssl rand -base64 32 prints.");
        }

        foreach (var (id, value) in SealingKeys)
        {
            if (id.Length > 64 || !id.All(c => char.IsAsciiLetterOrDigit(c) || c is '.' or '_' or '-'))
                yield return new("Keys:SealingKeys has an id that is not 1 to 64 letters, digits, '.', '_' and '-'.");

            // The value is a secret, so the message does not show it.
            else if (!SealingKey.IsWellFormed(value))
                yield return new($"Keys:SealingKeys:{id} must be 32 bytes in Base64.");
        }

        if (SealingKeyId is { } current && !SealingKeys.ContainsKey(current))
            yield return new("Keys:SealingKeyId must be the id of one of Keys:SealingKeys.");
        else if (SealingKeyId is null && SealingKeys.Count > 1)
            yield return new("Keys:SealingKeyId must say which of the several Keys:SealingKeys seals from now on.");
    }
}
