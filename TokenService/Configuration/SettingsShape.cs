using System.ComponentModel;
using System.Reflection;

namespace TokenService.Configuration;

/// <summary>
/// Checks that the settings of a section fit the properties of an options class, before the binder binds them.
/// </summary>
internal static class SettingsShape
{
    /// <summary>A line for each setting that does not fit. No line repeats a value, which may be a secret.</summary>
    public static IEnumerable<string> Errors(Type options, IConfigurationSection section)
    {
        foreach (var setting in section.GetChildren())
        {
            var property = options.GetProperty(setting.Key, BindingFlags.Public | BindingFlags.Instance | BindingFlags.IgnoreCase);
            if (property is { CanWrite: false, PropertyType.IsClass: true } && setting.Value is null)
            {
                foreach (var nested in Errors(property.PropertyType, setting))
                    yield return nested;
                continue;
            }

            var error = property is { CanWrite: false, PropertyType.IsClass: true } ? "is a section, and has no value of its own"
                : property is { CanWrite: true } ? Error(property.PropertyType, setting) : "is not a setting";
            if (error is not null)
                yield return $"{setting.Path} {error}.";
        }
    }

    private static string? Error(Type type, IConfigurationSection setting)
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
        // The binder makes an object of the parts.
        if (parts.Count > 0 && type.IsClass && type != typeof(string))
            return null;
        if (type == typeof(TimeSpan))
            return "must be a time such as 00:05:00";
        if (type.IsEnum)
            return $"must be {string.Join(" or ", Enum.GetNames(type))}";
        if (type == typeof(bool))
            return "must be true or false";
        return type == typeof(int) || type == typeof(long?) ? "must be a whole number" : "must be one value";
    }
}
