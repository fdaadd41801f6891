using System.ComponentModel.DataAnnotations;
using Microsoft.Extensions.Options;

namespace TokenService;

/// <summary>
/// Validates options by their annotations and their own <see cref="IValidatableObject"/>, as the framework's validator does,
/// but reports our messages as they are, for an operator to read, without the names of classes around them.
/// </summary>
internal sealed class AnnotationValidation<T> : IValidateOptions<T>
    where T : class
{
    public ValidateOptionsResult Validate(string? name, T options)
    {
        var failures = new List<ValidationResult>();
        return Validator.TryValidateObject(options, new ValidationContext(options), failures, validateAllProperties: true)
            ? ValidateOptionsResult.Success
            : ValidateOptionsResult.Fail(failures.Select(failure => failure.ErrorMessage!));
    }
}

internal static class AnnotationValidationExtensions
{
    public static void ValidateAnnotations<T>(this OptionsBuilder<T> builder)
        where T : class =>
        builder.Services.AddSingleton<IValidateOptions<T>, AnnotationValidation<T>>();
}
