using System.Diagnostics.CodeAnalysis;

namespace TokenService.Protocol;

/// <summary>A value, or the error that refuses it.</summary>
internal readonly struct Result<T>
{
    private readonly T? value;
    private readonly OAuthError? error;

    private Result(T? value, OAuthError? error) => (this.value, this.error) = (value, error);

    /// <summary>True: there is a value. False: there is an error.</summary>
    public bool TryGet([MaybeNullWhen(false)] out T value, [NotNullWhen(false)] out OAuthError? error)
    {
        value = this.value;
        error = this.error;
        return error is null;
    }

    public static implicit operator Result<T>(T value) => new(value, null);

    public static implicit operator Result<T>(OAuthError error) => new(default, error);
}
