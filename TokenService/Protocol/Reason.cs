namespace TokenService.Protocol;

/// <summary>
/// Why a request was refused, or why a presented token is not valid: fixed codes for the event log, so that they can be
/// counted. The caller never sees them. scripts/EVENTS.md lists them; a code that is in use is not renamed.
/// </summary>
internal static class Reason
{
    // HTTP and the form.
    public const string MethodNotPost = "method_not_post";
    public const string NotOverTls = "not_over_tls";
    public const string CredentialsInQuery = "credentials_in_query";
    public const string BodyNotForm = "body_not_form";
    public const string BodyTooLarge = "body_too_large";
    public const string BodyTooSlow = "body_too_slow";
    public const string BodyUnreadable = "body_unreadable";
    public const string BodyBadlyEncoded = "body_badly_encoded";
    public const string WhiteSpaceBeforeName = "white_space_before_name";
    public const string TooManyParameters = "too_many_parameters";
    public const string ParameterRepeated = "parameter_repeated";
    public const string ParameterMissing = "parameter_missing";
    public const string CallerGone = "caller_gone";

    // Authentication of the client.
    public const string NoCredentials = "no_credentials";
    public const string SeveralAuthMethods = "several_auth_methods";
    public const string BasicMalformed = "basic_malformed";
    public const string ClientIdMalformed = "client_id_malformed";
    public const string ClientIdMismatch = "client_id_mismatch";
    public const string UnknownClient = "unknown_client";
    public const string ClientDisabled = "client_disabled";
    public const string AuthMethodNotAllowed = "auth_method_not_allowed";
    public const string SecretLength = "secret_empty_or_too_long";
    public const string SecretDamaged = "secret_damaged";
    public const string SecretUnknown = "secret_unknown";
    public const string SecretWrong = "secret_wrong";
    public const string SecretNotYetValid = "secret_not_yet_valid";
    public const string SecretExpired = "secret_expired";
    public const string SecretRevoked = "secret_revoked";

    public const string SecretsOffByProfile = "secrets_off_by_profile";
    public const string AssertionTypeUnknown = "assertion_type_unknown";
    public const string AssertionTooLong = "assertion_too_long";
    public const string AssertionMalformed = "assertion_malformed";
    public const string AssertionHasExtensions = "assertion_has_extensions";
    public const string AssertionOfAnotherType = "assertion_of_another_type";
    public const string AssertionSubjectWrong = "assertion_subject_wrong";
    public const string AssertionKeyUnknown = "assertion_key_unknown";
    public const string AssertionAlgorithmWrong = "assertion_algorithm_wrong";
    public const string AssertionSignatureWrong = "assertion_signature_wrong";
    public const string AssertionAudienceWrong = "assertion_audience_wrong";
    public const string AssertionClaimsMalformed = "assertion_claims_malformed";
    public const string AssertionExpired = "assertion_expired";
    public const string AssertionTooOld = "assertion_too_old";
    public const string AssertionLivesTooLong = "assertion_lives_too_long";
    public const string AssertionNotYetValid = "assertion_not_yet_valid";
    public const string AssertionReplayed = "assertion_replayed";
    public const string KeyNotYetValid = "key_not_yet_valid";
    public const string KeyExpired = "key_expired";
    public const string KeyRevoked = "key_revoked";
    public const string KeyUnusable = "key_unusable";

    // The DPoP proof.
    public const string DpopProofMissing = "dpop_proof_missing";
    public const string DpopProofMalformed = "dpop_proof_malformed";
    public const string DpopProofAlgorithm = "dpop_proof_algorithm";
    public const string DpopProofKey = "dpop_proof_key";
    public const string DpopProofSignature = "dpop_proof_signature";
    public const string DpopProofRequest = "dpop_proof_for_another_request";
    public const string DpopProofTime = "dpop_proof_time";
    public const string DpopProofReplayed = "dpop_proof_replayed";
    public const string DpopNonceMissing = "dpop_nonce_missing";
    public const string DpopNonceStale = "dpop_nonce_stale";

    // Limits, and parts of the server that are unavailable.
    public const string TooManyFailuresOfTarget = "too_many_failures_of_client";
    public const string TooManyFailuresFromSource = "too_many_failures_from_source";
    public const string TooManyRequestsInFlight = "too_many_requests_in_flight";
    public const string TooManyTokens = "too_many_tokens";
    public const string TooManyRevocations = "too_many_revocations";
    public const string HashingQueueFull = "hashing_queue_full";
    public const string HashingTooLate = "hashing_too_late";
    public const string HashingWithoutMemory = "hashing_without_memory";
    public const string DatabaseUnavailable = "database_unavailable";
    public const string DatabaseSlow = "database_slow";
    public const string EventsNotWritten = "events_not_written";
    public const string SigningKeyUnavailable = "signing_key_unavailable";
    public const string SigningAlgorithmNotReady = "signing_algorithm_not_ready";
    public const string TokensRevokedForNow = "tokens_revoked_for_now";
    public const string InternalError = "internal_error";

    // The grant, the scope and the resource that the client asks for.
    public const string GrantTypeUnsupported = "grant_type_unsupported";
    public const string ScopeMalformed = "scope_malformed";
    public const string ScopeTooLong = "scope_too_long";
    public const string ScopeNotHeld = "scope_not_held";
    public const string ScopeAmbiguous = "scope_ambiguous";
    public const string NoDefaultScopes = "no_default_scopes";
    public const string DefaultScopesTooLong = "default_scopes_too_long";
    public const string ScopesOfSeveralResources = "scopes_of_several_resources";
    public const string ResourceMalformed = "resource_malformed";
    public const string SeveralResources = "several_resources";
    public const string ResourceNotHeld = "resource_not_held";
    public const string NoResourceServer = "no_resource_server";
    public const string ResourceOutsideProfile = "resource_outside_profile";

    // A token presented to introspection or revocation.
    public const string TokenTooLong = "token_too_long";
    public const string TokenMalformed = "token_malformed";
    public const string TokenOfAnotherType = "token_of_another_type";
    public const string TokenHasExtensions = "token_has_extensions";
    public const string TokenKeyUnknown = "token_key_unknown";
    public const string TokenAlgorithmWrong = "token_algorithm_wrong";
    public const string TokenSignatureWrong = "token_signature_wrong";
    public const string TokenOfAnotherIssuer = "token_of_another_issuer";
    public const string TokenClaimsMalformed = "token_claims_malformed";
    public const string TokenExpired = "token_expired";
    public const string TokenNotYetValid = "token_not_yet_valid";
    public const string TokenForAnotherResource = "token_for_another_resource";
    public const string TokenOfAnotherClient = "token_of_another_client";
    public const string TokenClientUnavailable = "token_client_gone_or_disabled";
    public const string TokenScopeWithdrawn = "token_scope_withdrawn";
    public const string TokenNotBound = "token_not_bound";
    public const string TokenRevoked = "token_revoked";
    public const string TokensOfClientRevoked = "tokens_of_client_revoked";
}
