using System.Diagnostics.CodeAnalysis;

namespace TokenService.Protocol;

/// <summary>A value, or the error that refuses it.</summary>
internal readonly struct Result<T>
{
    private readonly T? value;
    private readonly OAuthError? error;

    private Result(T? value, OAuthError? error) => (this.value, this.error) = (value, error);

    public bool Refused([NotNullWhen(true)] out OAuthError? error, [MaybeNullWhen(true)] out T value)
    {
        error = this.error;
        value = this.value;
        return error is not null;
    }

    public static implicit operator Result<T>(T value) => new(value, null);

    public static implicit operator Result<T>(OAuthError error) => new(default, error);
}
