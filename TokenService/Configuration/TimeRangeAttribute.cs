using System.ComponentModel.DataAnnotations;
using System.Globalization;

namespace TokenService.Configuration;

/// <summary>
/// The first and the last time that a setting may have. <see cref="RangeAttribute"/> would find the converter of
/// <see cref="TimeSpan"/> by reflection, which the native build cannot follow.
/// </summary>
[AttributeUsage(AttributeTargets.Property)]
internal sealed class TimeRangeAttribute(string min, string max) : ValidationAttribute
{
    public TimeSpan Min { get; } = TimeSpan.Parse(min, CultureInfo.InvariantCulture);

    public TimeSpan Max { get; } = TimeSpan.Parse(max, CultureInfo.InvariantCulture);

    public override bool IsValid(object? value) => value is TimeSpan time && time >= Min && time <= Max;
}
