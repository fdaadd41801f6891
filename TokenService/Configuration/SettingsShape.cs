using System.ComponentModel;
using System.Reflection;

namespace TokenService.Configuration;

/// <summary>Whether the settings of a section fit the properties of an options class, before the binder tries.</summary>
internal static class SettingsShape
{
    /// <summary>A line for each setting that does not fit. No line repeats a value, which may be a secret.</summary>
    public static IEnumerable<string> Misfits(Type options, IConfigurationSection section)
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
