using Microsoft.Extensions.Options;
using TokenService.Configuration;

namespace TokenService.Proofs;

/// <summary>
/// Signed statements that each work once: the assertions with which clients authenticate, and DPoP proofs. This room reads
/// and checks them, and remembers which were used. It knows nothing of tokens or HTTP.
/// </summary>
internal static class ProofsSetup
{
    public static IServiceCollection AddProofs(this IServiceCollection services) => services
        .AddSettings<AssertionOptions>(AssertionOptions.Section, (options, section) => section.Bind(options))
        .AddSettings<DpopOptions>(DpopOptions.Section, (options, section) => section.Bind(options))
        .AddSingleton<IValidateOptions<AssertionOptions>, AssertionProfileValidation>()
        .AddSingleton<IValidateOptions<DpopOptions>, DpopProfileValidation>()
        .AddSingleton<UsedIdStore>()
        .AddSingleton<UsedIds>()
        .AddHostedService<UsedIdCleanup>()
        .AddSingleton<DpopNonces>()
        .AddSingleton<DpopProofs>();
}
