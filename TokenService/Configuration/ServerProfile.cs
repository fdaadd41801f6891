using System.Diagnostics.CodeAnalysis;
using Microsoft.Extensions.Options;

namespace TokenService.Configuration;

/// <summary>A set of rules that the operator chooses as a whole.</summary>
internal enum ProfileName
{
    /// <summary>The settings and the rows of clients and resources decide.</summary>
    Baseline,

    /// <summary>
    /// The FAPI 2.0 Security Profile, as far as it concerns the client credentials grant: no secrets, no unbound tokens,
    /// none of the older algorithms, even if the rows of clients and resources allow them.
    /// </summary>
    Fapi2,
}

/// <summary>The profile, which is a setting at the root of the configuration.</summary>
internal sealed class ProfileOptions
{
    public const string Setting = "Profile";

    /// <summary>The setting as it is written. Default Baseline.</summary>
    public string Profile { get; set; } = nameof(ProfileName.Baseline);
}

/// <summary>The rules of the profile. Every room asks here, so that they stand in one place.</summary>
internal sealed record ServerProfile(ProfileName Name)
{
    // FAPI 2.0 Security Profile §5.4.1.
    private static readonly string[] AlgorithmsOfFapi2 = ["ES256", "PS256", "Ed25519", "EdDSA"];

    public static ServerProfile Baseline { get; } = new(ProfileName.Baseline);

    private bool IsFapi2 => Name == ProfileName.Fapi2;

    /// <summary>FAPI 2.0 §5.3.2.1: clients authenticate with keys only.</summary>
    public bool AllowsSecrets => !IsFapi2;

    /// <summary>FAPI 2.0 §5.3.2.1: every access token is bound to a key.</summary>
    public bool AllowsUnboundTokens => !IsFapi2;

    /// <summary>RFC 9068 §2.1: at+jwt is the type of access tokens.</summary>
    public bool AllowsPlainTokenType => !IsFapi2;

    /// <summary>FAPI 2.0 §5.3.2.1: the aud of an assertion is the issuer alone.</summary>
    public bool AllowsTokenEndpointAsAudience => !IsFapi2;

    /// <summary>True when assertions may be accepted while no other replica can learn of them.</summary>
    public bool AllowsAssertionsOnMemoryAlone => !IsFapi2;

    /// <summary>True when an issuer may be a plain http address.</summary>
    public bool AllowsPlainHttp => !IsFapi2;

    public bool AllowsAlgorithm(string algorithm) => !IsFapi2 || AlgorithmsOfFapi2.Contains(algorithm, StringComparer.Ordinal);

    /// <param name="setting">The name of a profile, in any case; null: the setting is missing.</param>
    /// <param name="profile">The profile; null: there is none of that name.</param>
    public static bool TryParse(string? setting, [NotNullWhen(true)] out ServerProfile? profile)
    {
        profile = setting is null ? Baseline
            : Enum.TryParse<ProfileName>(setting, ignoreCase: true, out var name) && Enum.IsDefined(name) ? new ServerProfile(name)
            : null;
        return profile is not null;
    }
}

/// <summary>Validates <see cref="ProfileOptions.Profile"/>.</summary>
internal sealed class ProfileValidation : IValidateOptions<ProfileOptions>
{
    public ValidateOptionsResult Validate(string? name, ProfileOptions options) =>
        ServerProfile.TryParse(options.Profile, out _)
            ? ValidateOptionsResult.Success
            : ValidateOptionsResult.Fail("Profile must be Baseline or Fapi2.");
}

internal static class ProfileSetup
{
    public static IServiceCollection AddProfile(this IServiceCollection services) => services
        .AddSettings<ProfileOptions>((options, configuration) => options.Profile = configuration[ProfileOptions.Setting] ?? options.Profile)
        .AddSingleton<IValidateOptions<ProfileOptions>, ProfileValidation>()
        // With a wrong setting the server does not start. Until it has said so, other checks of settings may ask.
        .AddSingleton(provider =>
            ServerProfile.TryParse(provider.GetRequiredService<IConfiguration>()[ProfileOptions.Setting], out var profile)
                ? profile
                : ServerProfile.Baseline);
}
