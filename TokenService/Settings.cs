using System.ComponentModel;
using System.Reflection;
using Microsoft.Extensions.Options;
using TokenService.Audit;
using TokenService.Clients;
using TokenService.Endpoints;
using TokenService.Keys;
using TokenService.Limits;
using TokenService.Postgres;
using TokenService.Secrets;
using TokenService.Tokens;

namespace TokenService;

/// <summary>Settings, checked before they are used.</summary>
internal static class Settings
{
    /// <summary>One section of the settings.</summary>
    /// <exception cref="OperatorException">At least one setting in it is wrong; a line for each.</exception>
    public static T Get<T>(IServiceProvider services, string section)
        where T : class
    {
        Refuse(Failures<T>(services, section));
        return services.GetRequiredService<IOptions<T>>().Value;
    }

    /// <summary>Checks every setting of the server before anything uses one, so that an operator sees all that is wrong at once.</summary>
    /// <exception cref="OperatorException">At least one setting is wrong; a line for each.</exception>
    public static void Check(IServiceProvider services) => Refuse(
    [
        .. Failures<IssuerOptions>(services),
        .. Failures<PostgresOptions>(services),
        .. Failures<KeyOptions>(services, KeyOptions.Section),
        .. Failures<HashingOptions>(services, HashingOptions.Section),
        .. Failures<LimitOptions>(services, LimitOptions.Section),
        .. Failures<TokenOptions>(services, TokenOptions.Section),
        .. Failures<ClientCacheOptions>(services, ClientCacheOptions.Section),
        .. Failures<EventLogOptions>(services, EventLogOptions.Section),
        .. Failures<ProxyOptions>(services),
    ]);

    private static void Refuse(List<string> failures)
    {
        if (failures.Count > 0)
            throw new OperatorException(string.Join(Environment.NewLine, failures));
    }

    private static List<string> Failures<T>(IServiceProvider services, string? section = null)
        where T : class
    {
        // First the shape, since the binder's own messages repeat values, which may be secrets.
        if (section is not null)
        {
            var misfits = Misfits(typeof(T), services.GetRequiredService<IConfiguration>().GetSection(section)).ToList();
            if (misfits.Count > 0)
                return misfits;
        }

        try
        {
            _ = services.GetRequiredService<IOptions<T>>().Value;
            return [];
        }
        catch (OptionsValidationException e)
        {
            return [.. e.Failures];
        }
    }

    private static IEnumerable<string> Misfits(Type options, IConfigurationSection section)
    {
        foreach (var setting in section.GetChildren())
        {
            var property = options.GetProperty(setting.Key, BindingFlags.Public | BindingFlags.Instance | BindingFlags.IgnoreCase);
            var misfit = property is { CanWrite: true } ? Misfit(property.PropertyType, setting) : "is not a setting";
            if (misfit is not null)
                yield return $"{setting.Path} {misfit}.";
        }
    }

    private static string? Misfit(Type type, IConfigurationSection setting)
    {
        var parts = setting.GetChildren().ToList();
        if (type == typeof(Dictionary<string, string>))
        {
            return setting.Value is null && parts.All(part => part.Value is not null && !part.GetChildren().Any())
                ? null
                : $"must be set by id, as {setting.Path}:<id>";
        }

        if (parts.Count == 0 && TypeDescriptor.GetConverter(type).IsValid(setting.Value ?? ""))
            return null;
        if (type == typeof(TimeSpan))
            return "must be a time such as 00:05:00";
        if (type.IsEnum)
            return $"must be {string.Join(" or ", Enum.GetNames(type))}";
        return type == typeof(int) ? "must be a whole number" : "must be one value";
    }
}
