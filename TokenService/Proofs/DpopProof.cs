using System.Diagnostics.CodeAnalysis;
using System.Text.Json;
using TokenService.Jose;
using TokenService.Protocol;

namespace TokenService.Proofs;

/// <summary>
/// A DPoP proof (RFC 9449 §4.2): a JWT in which a caller shows, for one request, that it has the private half of a key. It
/// is read as strictly as <see cref="Jws"/> reads. The key is the caller's choice, so its kind and size are checked before
/// anything is computed with it. Pure.
/// </summary>
internal sealed class DpopProof
{
    /// <summary>The <c>typ</c>, by which no other JWT is a proof (RFC 8725 §3.12).</summary>
    public const string Type = "dpop+jwt";

    /// <summary>Characters a proof may have at most. One with an RSA key of 4096 bits has half of it.</summary>
    public const int MaxLength = 4 * 1024;

    private const int MaxIdLength = 256;

    private static readonly TimeSpan MaxAge = TimeSpan.FromSeconds(60);

    private static readonly TimeSpan MaxAhead = TimeSpan.FromSeconds(30);

    /// <summary>How long a proof stays acceptable at most, from the earliest iat to the latest.</summary>
    public static readonly TimeSpan Lifetime = MaxAge + MaxAhead;

    private readonly Jws jws;
    private JsonElement claims;

    private DpopProof(Jws jws, PublicJwk key) => (this.jws, Key) = (jws, key);

    /// <summary>The key that the caller has chosen.</summary>
    public PublicJwk Key { get; }

    /// <summary><c>alg</c>, which is one of the allowed ones.</summary>
    public string Algorithm => jws.Algorithm!;

    /// <summary><c>jti</c>, after the claims were checked.</summary>
    public string Id => Jws.Text(claims, "jti")!;

    /// <summary><c>nonce</c>, after the claims were checked; null: there is none.</summary>
    public string? Nonce => Jws.Text(claims, "nonce");

    /// <summary>Reads what is before the signature: RFC 9449 §4.3, checks 1 to 6.</summary>
    /// <param name="headers">The values of the DPoP header, of which there must be one.</param>
    /// <param name="algorithms">The allowed values of <c>alg</c>.</param>
    public static Result<DpopProof> Read(IReadOnlyList<string?> headers, IReadOnlyList<string> algorithms)
    {
        // A list that a proxy has joined into one line counts as several.
        if (headers is not [{ } jwt] || jwt.Contains(','))
            return Bad(Reason.DpopProofMalformed, "There must be one DPoP header with one proof.");
        if (jwt.Length > MaxLength)
            return Bad(Reason.DpopProofMalformed, "The DPoP proof is longer than 4096 characters.");
        if (!Jws.TryParse(jwt, out var jws, isOfCaller: true) || jws.HasCriticalExtensions)
            return Bad(Reason.DpopProofMalformed, "The DPoP proof is not a JWT in compact form, or has critical extensions.");
        if (!jws.IsOfType(Type))
            return Bad(Reason.DpopProofMalformed, "The typ of the DPoP proof is not dpop+jwt.");
        if (jws.Algorithm is not { } algorithm || !algorithms.Contains(algorithm, StringComparer.Ordinal))
        {
            return Bad(
                Reason.DpopProofAlgorithm, "The alg of the DPoP proof is not among dpop_signing_alg_values_supported of the metadata.");
        }

        return PublicJwk.TryRead(jws.Key, out var key, out var defect)
            ? new DpopProof(jws, key)
            : Bad(Reason.DpopProofKey, $"The DPoP proof has no jwk that can be used: the key {defect}.");
    }

    public bool IsSignedBy(VerificationKey key) => key.Verifies(jws.SigningInput, jws.Signature);

    /// <summary>Reads and checks the claims, after the signature was verified: RFC 9449 §4.3, checks 8 and 9.</summary>
    /// <param name="method">The method of the request.</param>
    /// <param name="url">The address of the endpoint as the metadata has it, never as the Host header has it.</param>
    /// <returns>The error; null: the proof is for this request.</returns>
    public OAuthError? Check(string method, string url)
    {
        if (!jws.TryReadClaims(out claims))
            return Bad(Reason.DpopProofMalformed, "The payload of the DPoP proof is not a JSON object.");
        if (Jws.Text(claims, "jti") is not { Length: > 0 and <= MaxIdLength })
            return Bad(Reason.DpopProofMalformed, "The jti of the DPoP proof is not a string of 1 to 256 characters.");
        if (Jws.Text(claims, "htm") != method)
            return Bad(Reason.DpopProofRequest, "The htm of the DPoP proof is not the method of this request.");
        return Jws.Text(claims, "htu") is { } htu && IsAddress(htu, url)
            ? null
            : Bad(Reason.DpopProofRequest, "The htu of the DPoP proof is not the address of this endpoint, as the metadata has it.");
    }

    /// <summary>Checks the dates: RFC 9449 §4.3, check 11.</summary>
    /// <param name="now">The time.</param>
    /// <param name="hasFreshNonce">
    /// True: a nonce shows that the proof was made a moment ago, so iat is not judged, and a client with a wrong clock works.
    /// </param>
    public OAuthError? CheckTimes(DateTimeOffset now, bool hasFreshNonce)
    {
        if (!NumericDate.TryRead(claims, "iat", out var iat)
            || iat is not { } issuedAt
            || !NumericDate.TryRead(claims, "exp", out var expiresAt)
            || !NumericDate.TryRead(claims, "nbf", out var notBefore))
            return Bad(Reason.DpopProofMalformed, "The iat of the DPoP proof, or its exp or nbf, is not a number of seconds.");
        if (hasFreshNonce)
            return null;
        if (issuedAt < now - MaxAge || issuedAt > now + MaxAhead)
        {
            return OAuthError.InvalidDpopProof(
                Reason.DpopProofTime,
                "The iat of the DPoP proof is more than 60 seconds ago or 30 seconds ahead.",
                FormattableString.Invariant($"{(now - issuedAt).TotalSeconds:F0} seconds ago by this server's clock"));
        }

        return expiresAt <= now - MaxAge || notBefore > now + MaxAhead
            ? Bad(Reason.DpopProofTime, "The exp of the DPoP proof has passed, or its nbf has not.")
            : null;
    }

    // RFC 9449 §4.3, check 9, with the normalisation of RFC 3986 §6.2.2.1 and §6.2.3 that changes nothing else: case of
    // scheme and host, default port, query and fragment.
    private static bool IsAddress(string htu, string url)
    {
        if (htu == url)
            return true;
        return TrySplit(htu, out var own) && TrySplit(url, out var expected)
            && own.Scheme.Equals(expected.Scheme, StringComparison.OrdinalIgnoreCase)
            && own.Authority.Equals(expected.Authority, StringComparison.OrdinalIgnoreCase)
            && own.Path.SequenceEqual(expected.Path);
    }

    private static bool TrySplit(string address, out Address parts)
    {
        parts = default;
        var end = address.AsSpan().IndexOfAny('?', '#');
        var text = end < 0 ? address : address.AsSpan(0, end);
        var colon = text.IndexOf("://");
        if (colon <= 0)
            return false;

        var rest = text[(colon + 3)..];
        var slash = rest.IndexOf('/');
        var scheme = text[..colon];
        var authority = slash < 0 ? rest : rest[..slash];
        if (authority.Contains('@'))
            return false;
        var port = scheme.Equals("https", StringComparison.OrdinalIgnoreCase) ? ":443" : ":80";
        if (authority.EndsWith(port))
            authority = authority[..^port.Length];
        parts = new Address(scheme, authority, slash < 0 ? "/" : rest[slash..]);
        return true;
    }

    private static OAuthError Bad(string reason, string description) => OAuthError.InvalidDpopProof(reason, description);

    private readonly ref struct Address(ReadOnlySpan<char> scheme, ReadOnlySpan<char> authority, ReadOnlySpan<char> path)
    {
        public ReadOnlySpan<char> Scheme { get; } = scheme;

        public ReadOnlySpan<char> Authority { get; } = authority;

        public ReadOnlySpan<char> Path { get; } = path;
    }
}
