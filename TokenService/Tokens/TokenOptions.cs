using System.ComponentModel.DataAnnotations;
using TokenService.Configuration;

namespace TokenService.Tokens;

/// <summary>Options of access tokens. Section <c>Tokens</c>.</summary>
internal sealed class TokenOptions : IValidatableObject
{
    public const string Section = "Tokens";

    /// <summary>
    /// The longest lifetime of any token. The range below and the database's constraints on clients and resources
    /// enforce it.
    /// </summary>
    public static readonly TimeSpan MaxLifetime = TimeSpan.FromDays(1);

    /// <summary>
    /// The lifetime of a token if its client or resource sets none, 1 minute to 1 day, whole seconds. Default 10
    /// minutes.
    /// </summary>
    [TimeRange("00:01:00", "1.00:00:00", ErrorMessage = "Tokens:Lifetime must be 00:01:00 to 1.00:00:00.")]
    public TimeSpan Lifetime { get; set; } = TimeSpan.FromMinutes(10);

    public IEnumerable<ValidationResult> Validate(ValidationContext validationContext)
    {
        // exp and expires_in are whole seconds (RFC 7519 §2, RFC 6749 §5.1).
        if (Lifetime.Ticks % TimeSpan.TicksPerSecond != 0)
            yield return new("Tokens:Lifetime must be whole seconds.");
    }
}
