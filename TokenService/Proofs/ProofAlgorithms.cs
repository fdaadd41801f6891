using System.ComponentModel.DataAnnotations;
using Microsoft.Extensions.Options;
using TokenService.Configuration;
using TokenService.Jose;

namespace TokenService.Proofs;

/// <summary>The algorithms that assertions or DPoP proofs may have: those of a setting that the profile allows.</summary>
internal static class ProofAlgorithms
{
    /// <param name="setting">Names of algorithms, separated by spaces.</param>
    public static IReadOnlyList<string> Allowed(string setting, ServerProfile profile) =>
        [.. Names(setting).Where(profile.AllowsAlgorithm)];

    /// <summary>A line for a setting that names no algorithm, or one that this machine cannot verify.</summary>
    public static IEnumerable<ValidationResult> Errors(string path, string setting)
    {
        if (Names(setting) is not { Length: > 0 } names || names.Except(VerificationKey.Algorithms, StringComparer.Ordinal).Any())
            yield return new($"{path} must be one or more of {string.Join(' ', VerificationKey.Algorithms)}, separated by spaces.");
    }

    /// <summary>A line for a setting of which the profile allows nothing: no client could then be served.</summary>
    public static ValidateOptionsResult Validate(string path, string setting, ServerProfile profile) =>
        Names(setting).Length == 0 || Allowed(setting, profile).Count > 0
            ? ValidateOptionsResult.Success
            : ValidateOptionsResult.Fail($"{path} names no algorithm that Profile={profile.Name} allows.");

    private static string[] Names(string setting) => setting.Split(' ', StringSplitOptions.RemoveEmptyEntries);
}
