using System.ComponentModel.DataAnnotations;
using System.Diagnostics.CodeAnalysis;
using System.Reflection;
using Microsoft.Extensions.Options;

namespace TokenService.Configuration;

/// <summary>
/// Validates options by their annotations and, if these find nothing, by <see cref="IValidatableObject"/>. The
/// framework's own validators put the names of classes around each message, or do not work in the native build; here the
/// operator reads the message alone.
/// </summary>
internal sealed class AnnotationValidation<[DynamicallyAccessedMembers(DynamicallyAccessedMemberTypes.PublicProperties)] T>
    : IValidateOptions<T>
    where T : class
{
    public ValidateOptionsResult Validate(string? name, T options)
    {
        var context = new ValidationContext(options, typeof(T).Name, serviceProvider: null, items: null);
        var failures = AnnotationFailures(options, context).ToList();
        if (failures.Count == 0 && options is IValidatableObject validatable)
            failures = [.. validatable.Validate(context)];
        return failures.Count == 0
            ? ValidateOptionsResult.Success
            : ValidateOptionsResult.Fail(failures.Select(failure => failure.ErrorMessage!));
    }

    private static IEnumerable<ValidationResult> AnnotationFailures(T options, ValidationContext context) =>
        from property in typeof(T).GetProperties(BindingFlags.Public | BindingFlags.Instance)
        from rule in property.GetCustomAttributes<ValidationAttribute>()
        let failure = rule.GetValidationResult(property.GetValue(options), context)
        where failure is not null
        select failure;
}
