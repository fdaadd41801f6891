using System.ComponentModel.DataAnnotations;
using Microsoft.Extensions.Options;
using TokenService.Configuration;
using TokenService.Jose;

namespace TokenService.Proofs;

/// <summary>Whether DPoP proofs must have a nonce of this server.</summary>
internal enum DpopNonceRule
{
    /// <summary>No nonce is given out, and one in a proof is ignored.</summary>
    Off,

    /// <summary>
    /// A proof without a fresh nonce is refused (RFC 9449 §8). There is no rule in between, because RFC 9449 §11.3 forbids
    /// a proof without a nonce from a client that was given one.
    /// </summary>
    Required,
}

/// <summary>Options of DPoP (RFC 9449). Section <c>Dpop</c>.</summary>
internal sealed class DpopOptions : IValidatableObject
{
    public const string Section = "Dpop";

    /// <summary>Default Off.</summary>
    public DpopNonceRule Nonce { get; set; } = DpopNonceRule.Off;

    /// <summary>
    /// The algorithms of proofs, separated by spaces. Default: all that this machine can verify but RS256, whose padding is
    /// the older one.
    /// </summary>
    public string Algorithms { get; set; } = string.Join(' ', VerificationKey.Algorithms.Where(name => name != "RS256"));

    public IEnumerable<ValidationResult> Validate(ValidationContext validationContext) =>
        ProofAlgorithms.Errors($"{Section}:{nameof(Algorithms)}", Algorithms);
}

/// <summary>Validates <see cref="DpopOptions.Algorithms"/> against the profile.</summary>
internal sealed class DpopProfileValidation(ServerProfile profile) : IValidateOptions<DpopOptions>
{
    public ValidateOptionsResult Validate(string? name, DpopOptions options) =>
        ProofAlgorithms.Validate("Dpop:Algorithms", options.Algorithms, profile);
}
