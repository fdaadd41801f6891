using System.Buffers;

namespace TokenService.Protocol;

/// <summary>
/// A scope parameter: one or more scope-tokens of RFC 6749 §3.3. Their order and repetition mean nothing, so they are
/// kept sorted and distinct.
/// </summary>
internal sealed class ScopeSet
{
    /// <summary>Characters a scope parameter may have at most.</summary>
    public const int MaxLength = 2048;

    // scope-token: %x21 / %x23-5B / %x5D-7E, which is printable ASCII without the quotation mark and the backslash.
    private static readonly SearchValues<char> TokenCharacters = SearchValues.Create(
        [.. Enumerable.Range(0x21, 0x7E - 0x21 + 1).Select(code => (char)code).Where(c => c is not ('"' or '\\'))]);

    private readonly string text;

    private ScopeSet(IEnumerable<string> values)
    {
        Values = [.. values.Distinct(StringComparer.Ordinal).Order(StringComparer.Ordinal)];
        text = string.Join(' ', Values);
    }

    /// <summary>The scope-tokens, sorted, without repetition; at least one.</summary>
    public IReadOnlyList<string> Values { get; }

    /// <param name="values">Scope-tokens already known to be well-formed, such as those of the database.</param>
    public static ScopeSet Of(IEnumerable<string> values) => new(values);

    public static Result<ScopeSet> Parse(string scope)
    {
        if (scope.Length > MaxLength)
            return OAuthError.InvalidScope(Reason.ScopeTooLong, "The scope parameter is longer than 2048 characters.");

        var tokens = scope.Split(' ');
        return tokens.All(IsToken)
            ? new ScopeSet(tokens)
            : OAuthError.InvalidScope(
                Reason.ScopeMalformed,
                "The scope parameter is not a list of scopes, separated by single spaces, of characters that a scope may have.")
                .HintingAtLineBreak(scope);
    }

    /// <summary>The scope-tokens separated by single spaces, as in a request, a response or a claim.</summary>
    public override string ToString() => text;

    private static bool IsToken(string token) => token.Length > 0 && !token.AsSpan().ContainsAnyExcept(TokenCharacters);
}
