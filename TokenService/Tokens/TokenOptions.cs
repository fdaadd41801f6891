using System.ComponentModel.DataAnnotations;

namespace TokenService.Tokens;

/// <summary>What tokens are like where a client does not say otherwise. Section <c>Tokens</c>.</summary>
internal sealed class TokenOptions
{
    public const string Section = "Tokens";

    /// <summary>How long a token lives, 1 minute to 1 day, whole seconds. Default 10 minutes.</summary>
    [Range(typeof(TimeSpan), "00:01:00", "1.00:00:00", ErrorMessage = "Tokens:Lifetime must be 00:01:00 to 1.00:00:00.")]
    public TimeSpan Lifetime { get; set; } = TimeSpan.FromMinutes(10);
}
