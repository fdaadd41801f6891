using Microsoft.Extensions.Options;
using TokenService.Configuration;
using TokenService.Protocol;

namespace TokenService.Tokens;

/// <summary>The issuer, which is a setting at the root of the configuration.</summary>
internal sealed class IssuerOptions
{
    /// <summary>
    /// The issuer identifier (RFC 8414 §2): an https address without query or fragment. Required. It may be plain http
    /// in the Development environment, and for a loopback address.
    /// </summary>
    public string Issuer { get; set; } = "";
}

/// <summary>Validates <see cref="IssuerOptions.Issuer"/>. The rule depends on the environment and the profile.</summary>
internal sealed class IssuerValidation(IHostEnvironment environment, ServerProfile profile) : IValidateOptions<IssuerOptions>
{
    public ValidateOptionsResult Validate(string? name, IssuerOptions options)
    {
        if (options.Issuer.Length == 0)
        {
            return ValidateOptionsResult.Fail(
                "Issuer is missing. Set it to the https address under which clients reach this server.");
        }

        if (!Issuer.TryParse(options.Issuer, out var issuer))
        {
            return ValidateOptionsResult.Fail(
                Uri.TryCreate(options.Issuer, UriKind.Absolute, out var address) && address.Host.Contains('_', StringComparison.Ordinal)
                    ? "Issuer has an underscore in its host, and many clients refuse such a name (RFC 1123 §2.1). "
                        + "Use one of letters, digits and hyphens, such as https://auth.example.com."
                    : "Issuer must be an https address of host, port and plain path, such as https://auth.example.com: "
                        + "no user, query, fragment or escapes (RFC 8414 §2).");
        }

        if (!issuer.RequiresTls && !profile.AllowsPlainHttp)
            return ValidateOptionsResult.Fail($"Issuer must be https under Profile={profile.Name}.");
        if (!issuer.RequiresTls && !issuer.IsLoopback && !environment.IsDevelopment())
            return ValidateOptionsResult.Fail("Issuer must be https: plain http is for Development and for loopback addresses.");
        return ValidateOptionsResult.Success;
    }
}
