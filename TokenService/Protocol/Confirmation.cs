namespace TokenService.Protocol;

/// <summary>The key that a token is bound to: the claim <c>cnf</c> (RFC 7800 §3.1).</summary>
/// <param name="KeyThumbprint">
/// <c>jkt</c>: the JWK thumbprint of the key whose holder may use the token (RFC 9449 §6.1). Null: everybody who
/// has the token may use it.
/// </param>
internal readonly record struct Confirmation(string? KeyThumbprint)
{
    /// <summary>The type of a token that is so bound (RFC 9449 §5, RFC 6750 §6.1.1).</summary>
    public string TokenType => KeyThumbprint is null ? "Bearer" : "DPoP";
}
