using System.Diagnostics.CodeAnalysis;
using Microsoft.Extensions.Options;

namespace TokenService.Configuration;

/// <summary>
/// Settings, checked before anything uses them. A room calls <c>AddSettings</c> once for each of its options classes;
/// the call binds the class, validates it and registers it for <see cref="Check"/>.
/// </summary>
internal static class Settings
{
    // The members of an options class that are found by reflection, and which the native build therefore keeps.
    private const DynamicallyAccessedMemberTypes Reflected =
        DynamicallyAccessedMemberTypes.PublicProperties | DynamicallyAccessedMemberTypes.PublicParameterlessConstructor;

    /// <summary>Settings of one section.</summary>
    /// <param name="services">The services of the program.</param>
    /// <param name="section">The name of the section.</param>
    /// <param name="bind">
    /// Binds the section to the options. The room calls the binder and not this method, because the code that binds is
    /// generated for each call that names its class.
    /// </param>
    public static IServiceCollection AddSettings<[DynamicallyAccessedMembers(Reflected)] T>(
        this IServiceCollection services, string section, Action<T, IConfigurationSection> bind)
        where T : class
    {
        services.AddOptions<T>().Configure<IConfiguration>((options, configuration) => bind(options, configuration.GetSection(section)));
        return services.AddCheck<T>(section);
    }

    /// <summary>Settings that have no section of their own.</summary>
    public static IServiceCollection AddSettings<[DynamicallyAccessedMembers(Reflected)] T>(
        this IServiceCollection services, Action<T, IConfiguration> bind)
        where T : class
    {
        services.AddOptions<T>().Configure(bind);
        return services.AddCheck<T>(section: null);
    }

    /// <summary>Checks all settings, so that an operator sees every error at once.</summary>
    /// <exception cref="OperatorException">At least one setting is wrong. The message has a line for each.</exception>
    public static void Check(IServiceProvider services) => Refuse(Failures(services, _ => true));

    /// <summary>Checks and returns one options class, for a command, which needs only some of the settings.</summary>
    /// <exception cref="OperatorException">
    /// At least one setting in it is wrong. The message has a line for each.
    /// </exception>
    public static T Get<[DynamicallyAccessedMembers(Reflected)] T>(IServiceProvider services)
        where T : class
    {
        Refuse(Failures(services, check => check.Options == typeof(T)));
        return services.GetRequiredService<IOptions<T>>().Value;
    }

    private static IServiceCollection AddCheck<[DynamicallyAccessedMembers(Reflected)] T>(
        this IServiceCollection services, string? section)
        where T : class =>
        services
            .AddSingleton<IValidateOptions<T>, AnnotationValidation<T>>()
            .AddSingleton(new SettingsCheck(typeof(T), provider => Failures<T>(provider, section)));

    private static List<string> Failures(IServiceProvider services, Func<SettingsCheck, bool> isWanted) =>
        [.. services.GetServices<SettingsCheck>().Where(isWanted).SelectMany(check => check.Failures(services))];

    private static IEnumerable<string> Failures<[DynamicallyAccessedMembers(Reflected)] T>(
        IServiceProvider services, string? section)
        where T : class
    {
        // The shape comes first, because the binder's own messages repeat values, which may be secrets.
        if (section is not null)
        {
            var configuration = services.GetRequiredService<IConfiguration>().GetSection(section);
            var shapeErrors = SettingsShape.Errors(typeof(T), configuration).ToList();
            if (shapeErrors.Count > 0)
                return shapeErrors;
        }

        try
        {
            _ = services.GetRequiredService<IOptions<T>>().Value;
            return [];
        }
        catch (OptionsValidationException e)
        {
            return e.Failures;
        }
    }

    private static void Refuse(List<string> failures)
    {
        if (failures.Count > 0)
            throw new OperatorException(string.Join(Environment.NewLine, failures));
    }

    /// <param name="Failures">Returns a line for each setting of the class that is wrong.</param>
    private sealed record SettingsCheck(Type Options, Func<IServiceProvider, IEnumerable<string>> Failures);
}
