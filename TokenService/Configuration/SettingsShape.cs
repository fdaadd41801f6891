using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.Reflection;

namespace TokenService.Configuration;

/// <summary>
/// Checks that the settings of a section fit the properties of an options class, before the binder binds them.
/// </summary>
internal static class SettingsShape
{
    /// <summary>
    /// A line for each setting that does not fit. No line repeats a value, which may be a secret. A part of the class
    /// that has settings of its own, and cannot be replaced, is a section that the caller checks, too.
    /// </summary>
    public static IEnumerable<string> Errors(
        [DynamicallyAccessedMembers(DynamicallyAccessedMemberTypes.PublicProperties)] Type options, IConfigurationSection section)
    {
        var properties = options.GetProperties(BindingFlags.Public | BindingFlags.Instance)
            .ToDictionary(property => property.Name, StringComparer.OrdinalIgnoreCase);
        foreach (var setting in section.GetChildren())
        {
            var property = properties.GetValueOrDefault(setting.Key);
            var isSection = property is { CanWrite: false, PropertyType.IsClass: true };
            if (isSection && setting.Value is null)
                continue;
            var error = isSection ? "is a section, and has no value of its own"
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

        if (parts.Count == 0 && IsOf(type, setting.Value ?? ""))
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

    // The types that settings have, as the binder reads them.
    private static bool IsOf(Type type, string value)
    {
        if (type == typeof(string))
            return true;
        if (type == typeof(TimeSpan))
            return TimeSpan.TryParse(value, CultureInfo.InvariantCulture, out _);
        if (type.IsEnum)
            return Enum.TryParse(type, value, ignoreCase: true, out var member) && Enum.IsDefined(type, member);
        if (type == typeof(bool))
            return bool.TryParse(value, out _);
        if (type == typeof(int))
            return int.TryParse(value, CultureInfo.InvariantCulture, out _);
        // The binder reads an empty value as null.
        return type == typeof(long?) && (value.Length == 0 || long.TryParse(value, CultureInfo.InvariantCulture, out _));
    }
}
