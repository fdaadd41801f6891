namespace TokenService.Protocol;

/// <summary>
/// The error responses of RFC 6749 §5.2 in the order that section lists them (invalid_grant cannot occur, because a
/// client presents no code or assertion as its grant), then that of RFC 8707 §2, those of RFC 9449 §12.2, and those of
/// this server's limits and failures.
/// </summary>
/// <param name="Code">The <c>error</c> member.</param>
/// <param name="Status">The HTTP status.</param>
/// <param name="Description">
/// The <c>error_description</c> member, for the developer of the client. It never repeats the request.
/// </param>
/// <param name="Reason">One of <see cref="Protocol.Reason"/>, for the event log. Never sent to the client.</param>
/// <param name="Detail">Text for the event log beside the reason; null: none. Never sent to the client.</param>
/// <param name="RetryAfter">
/// How long the client should wait before it asks again; null: asking again does not help.
/// </param>
/// <param name="ClientId">
/// The client_id in a body that is refused before the client is authenticated, for the event log; null: none was read.
/// </param>
internal sealed record OAuthError(
    string Code, int Status, string Description, string Reason, string? Detail = null, TimeSpan? RetryAfter = null, string? ClientId = null)
{
    /// <summary>The value of the header DPoP-Nonce (RFC 9449 §8); null: the answer has none.</summary>
    public string? DpopNonce { get; private init; }

    /// <summary>
    /// True when the client does what the answer says and tries again, so that the event log has a challenge and no refusal.
    /// </summary>
    public bool IsChallenge => DpopNonce is not null;

    /// <summary>The same error, with a sentence about a line break at the end of the value that is refused.</summary>
    public OAuthError HintingAtLineBreak(string value) => LineBreak.Ends(value)
        ? this with { Description = $"{Description} The value ends in a line break." }
        : this;

    /// <param name="reason">One of <see cref="Protocol.Reason"/>, for the event log.</param>
    /// <param name="description">Tells the developer of the client how to correct the request.</param>
    /// <param name="status">400, unless HTTP has a more exact status.</param>
    public static OAuthError InvalidRequest(string reason, string description, int status = 400) =>
        new("invalid_request", status, description, reason);

    public static OAuthError ParameterMissing(string name) =>
        InvalidRequest(Protocol.Reason.ParameterMissing, $"The parameter {name} is missing from the body.") with { Detail = name };

    // One description for every reason, so that a caller cannot tell an unknown client from a wrong secret.
    public static OAuthError InvalidClient(string reason, string? detail = null) =>
        new(
            "invalid_client",
            401,
            "Client authentication failed. The operator finds the reason under the Request-Id of this answer.",
            reason,
            detail);

    /// <summary>Only for introspection, which not every client may use. Every client may use the one grant.</summary>
    public static OAuthError UnauthorizedClient(string reason, string description) =>
        new("unauthorized_client", 400, description, reason);

    public static OAuthError UnsupportedGrantType() =>
        new(
            "unsupported_grant_type",
            400,
            "The only grant_type here is client_credentials.",
            Protocol.Reason.GrantTypeUnsupported);

    /// <summary>
    /// RFC 6749 §4.1.2.1, of an authorization endpoint that offers no response type. It makes no event, so its reason is
    /// nowhere seen.
    /// </summary>
    public static OAuthError UnsupportedResponseType() =>
        new(
            "unsupported_response_type",
            400,
            "This server has no response types: its only grant is client_credentials, at the token endpoint.",
            Protocol.Reason.GrantTypeUnsupported);

    public static OAuthError InvalidScope(string reason, string description) =>
        new("invalid_scope", 400, description, reason);

    public static OAuthError InvalidTarget(string reason, string description) =>
        new("invalid_target", 400, description, reason);

    /// <summary>RFC 9449 §5: the DPoP proof is bad, or required and missing.</summary>
    /// <param name="description">Says which check failed: the client is authenticated by then.</param>
    public static OAuthError InvalidDpopProof(string reason, string description, string? detail = null) =>
        new("invalid_dpop_proof", 400, description, reason, detail);

    /// <summary>RFC 9449 §8: the DPoP proof must have the nonce that comes with this answer.</summary>
    public static OAuthError UseDpopNonce(string reason, string nonce) =>
        new("use_dpop_nonce", 400, "The DPoP proof must have the nonce of the header DPoP-Nonce of this answer.", reason)
        {
            DpopNonce = nonce,
        };

    /// <summary>
    /// The server has too much work, or the database is unavailable. RFC 6749 §4.1.2.1 defines the code for this case.
    /// </summary>
    public static OAuthError TemporarilyUnavailable(string reason, TimeSpan retryAfter, string? detail = null) =>
        new(
            "temporarily_unavailable",
            503,
            "The server cannot answer now. Retry-After says when to ask again.",
            reason,
            detail,
            retryAfter);

    /// <summary>
    /// Too many wrong secrets (RFC 6585 §4). The answer is the same whether or not the client exists.
    /// </summary>
    public static OAuthError TooManyRequests(string reason, TimeSpan retryAfter) =>
        new(
            "temporarily_unavailable",
            429,
            "Too many failed attempts. Retry-After says when to ask again.",
            reason,
            RetryAfter: retryAfter);

    /// <summary>More tokens than the client may have (RFC 6585 §4).</summary>
    public static OAuthError TooManyTokens(TimeSpan retryAfter, string detail) => new(
        "temporarily_unavailable",
        429,
        "This client asks for tokens too often. Keep each token until shortly before it expires.",
        Protocol.Reason.TooManyTokens,
        detail,
        retryAfter);

    /// <summary>
    /// A bug. The log has the exception; the caller learns nothing. RFC 6749 §4.1.2.1 defines the code.
    /// </summary>
    public static OAuthError ServerError() =>
        new(
            "server_error",
            500,
            "The server failed. The operator finds the cause under the Request-Id of this answer.",
            Protocol.Reason.InternalError);
}
