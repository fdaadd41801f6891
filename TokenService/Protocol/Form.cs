using System.Buffers;

namespace TokenService.Protocol;

/// <summary>The parameters of a request body, RFC 6749 §3.2 and appendix B.</summary>
internal sealed class Form
{
    /// <summary>Bytes a body may have at most.</summary>
    public const int MaxLength = 16 * 1024;

    /// <summary>Parameters a body may have at most. Unknown ones count too.</summary>
    public const int MaxParameters = 64;

    // RFC 8707 §2 lets this one parameter repeat.
    private const string Resource = "resource";

    private const string Secret = "client_secret";

    private readonly Dictionary<string, string> parameters = new(StringComparer.Ordinal);

    private List<string>? resources;

    private Form()
    {
    }

    /// <summary>The value of a parameter; null when it is omitted or has no value (RFC 6749 §3.2).</summary>
    public string? this[string name] =>
        parameters.TryGetValue(name, out var value) && value.Length > 0 ? value : null;

    /// <summary>
    /// The value of <c>client_secret</c> as it stood in the body; null: decoding did not change it. Only for telling why a
    /// secret is wrong.
    /// </summary>
    public string? UndecodedSecret { get; private set; }

    /// <summary>The values of <c>resource</c>, none of them empty.</summary>
    public IReadOnlyList<string> Resources => resources ?? (IReadOnlyList<string>)[];

    /// <summary>
    /// Parses a whole body. It refuses bad encoding, white space before a name, a repeated parameter, too many parameters
    /// and a body that is too large. The error has the client_id, if the body has one.
    /// </summary>
    public static Result<Form> Parse(ReadOnlySequence<byte> body)
    {
        if (body.Length > MaxLength)
            return OAuthError.InvalidRequest(Reason.BodyTooLarge, "The body is larger than 16 KiB.", status: 413);

        return Parse(body.IsSingleSegment ? body.FirstSpan : body.ToArray());
    }

    private static Result<Form> Parse(ReadOnlySpan<byte> body)
    {
        var (form, count) = (new Form(), 0);
        OAuthError? defect = null;
        // echo, editors and here-documents add a line break.
        body = body.TrimEnd("\r\n"u8);
        foreach (var range in body.Split((byte)'&'))
        {
            var pair = body[range];
            if (pair.IsEmpty)
                continue;

            if (++count > MaxParameters)
            {
                defect ??= OAuthError.InvalidRequest(Reason.TooManyParameters, "The body has more than 64 parameters.");
                break;
            }

            // The rest is read all the same, because the client_id may be in it.
            var error = form.Add(pair);
            defect ??= error;
        }

        return defect is null ? form : defect with { ClientId = form["client_id"] };
    }

    // Null: the parameter was added.
    private OAuthError? Add(ReadOnlySpan<byte> pair)
    {
        var equals = pair.IndexOf((byte)'=');
        var name = equals < 0 ? pair : pair[..equals];
        var value = equals < 0 ? [] : pair[(equals + 1)..];
        if (!FormUrlEncoding.TryDecode(name, out var decodedName)
            || !FormUrlEncoding.TryDecode(value, out var decodedValue))
        {
            return OAuthError.InvalidRequest(
                Reason.BodyBadlyEncoded,
                "The body has a % without two hexadecimal digits after it, or octets that are not UTF-8. Encode % as %25.");
        }

        // A request that was broken over lines, as a book prints it. The parameter would be an unknown one and ignored.
        if (decodedName.Length > 0 && char.IsWhiteSpace(decodedName[0]))
        {
            return OAuthError.InvalidRequest(
                Reason.WhiteSpaceBeforeName,
                "White space stands before the name of a parameter. Send the body on one line, with only & between parameters.");
        }

        if (decodedName == Resource)
            AddResource(decodedValue);
        // RFC 6749 §3.2: a parameter must not be included more than once. Unknown and empty ones must not repeat either.
        else if (!parameters.TryAdd(decodedName, decodedValue))
        {
            return OAuthError.InvalidRequest(
                Reason.ParameterRepeated,
                "A parameter is repeated. Separate several scopes by spaces.");
        }

        if (decodedName == Secret)
            UndecodedSecret = FormUrlEncoding.IfChanged(value);
        return null;
    }

    private void AddResource(string value)
    {
        if (value.Length > 0)
            (resources ??= []).Add(value);
    }
}
