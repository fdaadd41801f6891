using System.Buffers;
using System.Text.Json;
using TokenService.Jose;
using TokenService.Keys;
using TokenService.Protocol;

namespace TokenService.Tokens;

/// <summary>
/// Validates access tokens that a caller presents, as RFC 9068 §4 and RFC 8725 require of a verifier. Nothing in a
/// token is trusted before its signature is verified with one of this server's keys and that key's algorithm.
/// </summary>
internal sealed class AccessTokenValidator(Issuer issuer, SigningKeys keys, TimeProvider clock)
{
    /// <summary>Characters a token may have at most. A token with the most scopes and extra claims has fewer.</summary>
    public const int MaxLength = 13 * 1024;

    // The same as in the constraint revoked_token_jti_grammar.
    private const int MaxIdLength = 64;

    private static readonly SearchValues<char> Base64UrlCharacters =
        SearchValues.Create("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_");

    /// <param name="jwt">Any string; it need not be a token.</param>
    /// <param name="ct">Ends the wait for the database, which is seldom queried for keys.</param>
    /// <exception cref="Npgsql.NpgsqlException">
    /// A query for keys is necessary, and the database is unavailable.
    /// </exception>
    public async ValueTask<TokenValidation> ValidateAsync(string jwt, CancellationToken ct)
    {
        if (jwt.Length > MaxLength)
            return Reason.TokenTooLong;
        if (!Jws.TryParse(jwt, out var jws))
            return Reason.TokenMalformed;
        // RFC 8725 §3.11 and RFC 9068 §4. Every other kind of JWT that this server signs has a type of its own. An admin
        // may change the type of a resource while older tokens live, so both are accepted for all resources.
        if (jws.Type is not (AccessTokenIssuer.Type or AccessTokenIssuer.PlainType))
            return Reason.TokenOfAnotherType;
        // RFC 7515 §4.1.11: this server's tokens have no extensions, and it understands none.
        if (jws.HasCriticalExtensions)
            return Reason.TokenHasExtensions;
        // RFC 8725 §3.10: kid is used for a lookup and for nothing else.
        if (jws.KeyId is not { } kid || await keys.FindAsync(kid, ct) is not { } key)
            return Reason.TokenKeyUnknown;
        // RFC 8725 §3.1.
        if (jws.Algorithm != key.Algorithm)
            return Reason.TokenAlgorithmWrong;
        if (!key.Verifies(jws.SigningInput, jws.Signature))
            return Reason.TokenSignatureWrong;
        return jws.TryReadClaims(out var claims) ? Validate(claims, jws.Type, key.Algorithm) : Reason.TokenMalformed;
    }

    private TokenValidation Validate(JsonElement claims, string type, string algorithm)
    {
        // RFC 8725 §3.8.
        if (Jws.Text(claims, "iss") != issuer.Value)
            return Reason.TokenOfAnotherIssuer;
        if (Read(claims, type, algorithm) is not { } token)
            return Reason.TokenClaimsMalformed;

        var now = clock.GetUtcNow();
        if (token.ExpiresAt <= now)
            return Reason.TokenExpired;
        if (Time(claims, "nbf") > now)
            return Reason.TokenNotYetValid;
        return new TokenValidation(token, Failure: null);
    }

    // Null when a claim is missing or malformed. A value that the database's constraints would refuse never reaches a
    // query.
    private static ValidatedToken? Read(JsonElement claims, string type, string algorithm)
    {
        if (Jws.Text(claims, "jti") is not { Length: > 0 and <= MaxIdLength } id
            || id.AsSpan().ContainsAnyExcept(Base64UrlCharacters))
            return null;
        if (Jws.Text(claims, "client_id") is not { } clientId || !ClientId.IsWellFormed(clientId))
            return null;
        if (Jws.Text(claims, "scope") is not { } scope || !ScopeSet.Parse(scope).TryGet(out var scopes, out _))
            return null;
        if (Jws.Text(claims, "aud") is not { } audience)
            return null;
        if (Time(claims, "iat") is not { } issuedAt || Time(claims, "exp") is not { } expiresAt)
            return null;

        return new ValidatedToken
        {
            Id = id,
            ClientId = clientId,
            Audience = audience,
            Scope = scopes,
            Type = type,
            Algorithm = algorithm,
            Confirmation = new Confirmation(
                claims.TryGetProperty("cnf", out var cnf) && cnf.ValueKind == JsonValueKind.Object ? Jws.Text(cnf, "jkt") : null),
            IssuedAt = issuedAt,
            ExpiresAt = expiresAt,
            Claims = claims,
        };
    }

    // NumericDate, RFC 7519 §2. This server writes whole seconds only. Null: the member is missing or is not such a
    // number.
    private static DateTimeOffset? Time(JsonElement json, string member)
    {
        if (!json.TryGetProperty(member, out var value) || value.ValueKind != JsonValueKind.Number)
            return null;
        return value.TryGetInt64(out var seconds) && seconds is >= 0 and < 253_402_300_800 // the year 10000
            ? DateTimeOffset.FromUnixTimeSeconds(seconds)
            : null;
    }
}
