using System.ComponentModel.DataAnnotations;
using Microsoft.Extensions.Options;

namespace TokenService.Configuration;

/// <summary>
/// Validates options by their annotations and by <see cref="IValidatableObject"/>, as the framework's validator does.
/// The framework puts the names of classes around each message; here the operator reads the message alone.
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
