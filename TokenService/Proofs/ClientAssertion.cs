using System.Text.Json;
using TokenService.Jose;
using TokenService.Protocol;

namespace TokenService.Proofs;

/// <summary>The values that an assertion is checked against.</summary>
/// <param name="Issuer">The right <c>aud</c>.</param>
/// <param name="OtherAudience">Another <c>aud</c> that this client may send for a while; null: none.</param>
/// <param name="Age">How long after its iat it is accepted.</param>
/// <param name="Now">The time.</param>
internal readonly record struct AssertionRules(string Issuer, string? OtherAudience, TimeSpan Age, DateTimeOffset Now);

/// <summary>
/// A JWT with which a client authenticates: RFC 7521 §4.2 and RFC 7523 §2.2 and §3, as draft-ietf-oauth-rfc7523bis changes
/// them. It is read as strictly as <see cref="Jws"/> reads. Before its signature is verified, its claims only name the
/// client and its header only names the key. Pure.
/// </summary>
internal sealed class ClientAssertion
{
    /// <summary>The <c>client_assertion_type</c> (RFC 7523 §2.2).</summary>
    public const string ParameterType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

    /// <summary>Characters an assertion may have at most.</summary>
    public const int MaxLength = 8 * 1024;

    private const int MaxIdLength = 256;

    // rfc7523bis §4: this type is preferred; many clients send JWT, which says nothing, or none.
    private const string Type = "client-authentication+jwt";
    private const string AnyJwt = "JWT";

    /// <summary>How far the clocks of a client and this server may differ.</summary>
    public static readonly TimeSpan Skew = TimeSpan.FromMinutes(1);

    private readonly Jws jws;
    private readonly JsonElement claims;

    private ClientAssertion(Jws jws, JsonElement claims, string clientId) =>
        (this.jws, this.claims, ClientId) = (jws, claims, clientId);

    /// <summary>The client that the assertion names as its iss and sub (RFC 7523 §3).</summary>
    public string ClientId { get; }

    /// <summary><c>kid</c>; null: there is none.</summary>
    public string? KeyId => jws.KeyId;

    /// <summary><c>alg</c>; null: there is none.</summary>
    public string? Algorithm => jws.Algorithm;

    /// <summary>Reads an assertion. Every defect is the same invalid_client, with a reason for the event log.</summary>
    public static Result<ClientAssertion> Read(string jwt)
    {
        if (jwt.Length > MaxLength)
            return OAuthError.InvalidClient(Reason.AssertionTooLong);
        if (!Jws.TryParse(jwt, out var jws) || !jws.TryReadClaims(out var claims))
            return OAuthError.InvalidClient(Reason.AssertionMalformed);
        // RFC 7515 §4.1.11. The other members that could lead a reader astray, such as jku and jwk, are not looked at.
        if (jws.HasCriticalExtensions)
            return OAuthError.InvalidClient(Reason.AssertionHasExtensions);
        // RFC 8725 §3.11 and §3.12: no access token, DPoP proof or other JWT is an assertion.
        if (jws.HasType && !jws.IsOfType(Type) && !jws.IsOfType(AnyJwt))
            return OAuthError.InvalidClient(Reason.AssertionOfAnotherType);

        var (issuer, subject) = (Jws.Text(claims, "iss"), Jws.Text(claims, "sub"));
        if (issuer is null || subject is null || issuer != subject)
            return OAuthError.InvalidClient(Reason.AssertionSubjectWrong, "iss and sub must both be the client_id");
        return new ClientAssertion(jws, claims, subject);
    }

    public bool IsSignedBy(VerificationKey key) => key.Verifies(jws.SigningInput, jws.Signature);

    /// <summary>Checks the claims; call this only after the signature was verified.</summary>
    /// <returns>The id that must be used up before anything is granted.</returns>
    public Result<OneTimeId> Check(AssertionRules rules)
    {
        if (Jws.Text(claims, "jti") is not { Length: > 0 and <= MaxIdLength } id)
            return OAuthError.InvalidClient(Reason.AssertionClaimsMalformed, "jti must be a string of 1 to 256 characters");
        if (!IsFor(rules.Issuer) && (rules.OtherAudience is not { } other || !IsFor(other)))
            return OAuthError.InvalidClient(Reason.AssertionAudienceWrong, "aud must be this server's issuer, and nothing else");
        if (!NumericDate.TryRead(claims, "exp", out var exp)
            || exp is not { } expiresAt
            || !NumericDate.TryRead(claims, "iat", out var issuedAt)
            || !NumericDate.TryRead(claims, "nbf", out var notBefore))
        {
            return OAuthError.InvalidClient(
                Reason.AssertionClaimsMalformed, "exp, iat and nbf must be numbers of seconds, and exp is required");
        }

        return CheckTimes(rules, expiresAt, issuedAt, notBefore) is { } error
            ? error
            : new OneTimeId(IdHash.Of("assertion", ClientId, id), EndOf(rules, expiresAt, issuedAt), issuedAt);
    }

    /// <summary>True when its one aud is this, character by character.</summary>
    public bool IsFor(string audience) =>
        claims.TryGetProperty("aud", out var aud)
        && (Is(aud, audience)
            // rfc7523bis: a second audience could use the assertion at this server.
            || (aud.ValueKind == JsonValueKind.Array && aud.GetArrayLength() == 1 && Is(aud[0], audience)));

    private static bool Is(JsonElement value, string text) => value.ValueKind == JsonValueKind.String && value.ValueEquals(text);

    private static OAuthError? CheckTimes(
        AssertionRules rules, DateTimeOffset expiresAt, DateTimeOffset? issuedAt, DateTimeOffset? notBefore)
    {
        if (expiresAt <= rules.Now - Skew)
            return OAuthError.InvalidClient(Reason.AssertionExpired, Late("exp", rules.Now - expiresAt, "ago"));
        if (issuedAt > rules.Now + Skew)
            return OAuthError.InvalidClient(Reason.AssertionNotYetValid, Late("iat", issuedAt - rules.Now, "ahead"));
        if (notBefore > rules.Now + Skew)
            return OAuthError.InvalidClient(Reason.AssertionNotYetValid, Late("nbf", notBefore - rules.Now, "ahead"));
        if (issuedAt <= rules.Now - Skew - rules.Age)
            return OAuthError.InvalidClient(Reason.AssertionTooOld, Late("iat", rules.Now - issuedAt, "ago"));
        return issuedAt is null && expiresAt > rules.Now + rules.Age
            ? OAuthError.InvalidClient(Reason.AssertionLivesTooLong, Late("there is no iat, and exp", expiresAt - rules.Now, "ahead"))
            : null;
    }

    // The end of acceptance, from signed claims only: the id must be remembered for as long.
    private static DateTimeOffset EndOf(AssertionRules rules, DateTimeOffset expiresAt, DateTimeOffset? issuedAt)
    {
        var end = issuedAt is { } at && at + rules.Age < expiresAt ? at + rules.Age : expiresAt;
        return end + Skew;
    }

    private static string Late(string claim, TimeSpan? by, string direction) =>
        FormattableString.Invariant($"{claim} is {by?.TotalSeconds:F0} seconds {direction} by this server's clock");
}
