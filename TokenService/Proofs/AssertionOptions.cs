using System.ComponentModel.DataAnnotations;
using TokenService.Configuration;
using TokenService.Jose;

namespace TokenService.Proofs;

/// <summary>The rule for assertions while the database does not answer, and no other replica can learn of them.</summary>
internal enum AssertionsWhileAway
{
    /// <summary>
    /// An assertion that is at most a minute old is accepted, once at each replica, for as long as clients are served
    /// from memory.
    /// </summary>
    Memory,

    /// <summary>Every assertion gets 503.</summary>
    Refuse,
}

/// <summary>Options of client assertions (RFC 7523). Section <c>Assertions</c>.</summary>
internal sealed class AssertionOptions : IValidatableObject
{
    public const string Section = "Assertions";

    /// <summary>
    /// How long after its iat an assertion is accepted, 1 minute to 1 hour, if its exp is not earlier. Default 5 minutes.
    /// </summary>
    [TimeRange("00:01:00", "01:00:00", ErrorMessage = "Assertions:Age must be 00:01:00 to 01:00:00.")]
    public TimeSpan Age { get; set; } = TimeSpan.FromMinutes(5);

    /// <summary>The algorithms of assertions, separated by spaces. Default: all that this machine can verify.</summary>
    public string Algorithms { get; set; } = string.Join(' ', VerificationKey.Algorithms);

    /// <summary>Default Memory.</summary>
    public AssertionsWhileAway WhileAway { get; set; } = AssertionsWhileAway.Memory;

    public IEnumerable<ValidationResult> Validate(ValidationContext validationContext) =>
        ProofAlgorithms.Errors($"{Section}:{nameof(Algorithms)}", Algorithms);
}
