using Microsoft.Extensions.Options;
using TokenService.Caching;
using TokenService.Configuration;
using TokenService.Jose;
using TokenService.Protocol;
using TokenService.Telemetry;

namespace TokenService.Proofs;

/// <summary>
/// Verifies the DPoP proofs of token requests (RFC 9449 §5). This replica remembers which proofs were used. The others do
/// not learn of it, and need not: beside the proof stands a secret, or an assertion that works once, and a proof that is
/// sent again wins a token for a key that the sender lacks.
/// </summary>
internal sealed class DpopProofs(
    DpopNonces nonces, IOptions<DpopOptions> options, ServerProfile profile, Metrics metrics, TimeProvider clock)
{
    private const int MaxRemembered = 100_000; // about 6 MB
    private const int MaxKeys = 4096;

    private readonly bool isNonceRequired = options.Value.Nonce == DpopNonceRule.Required;

    private readonly ReplayMemory memory = new(
        MaxRemembered, options.Value.Nonce == DpopNonceRule.Required ? DpopNonces.Lifetime : DpopProof.Lifetime, clock);

    // Making a key costs about as much as a verification. By algorithm and thumbprint: only keys that verified a proof.
    private readonly BoundedMap<(string Algorithm, string Thumbprint), VerificationKey> keys = new(MaxKeys);

    /// <summary>The values of dpop_signing_alg_values_supported (RFC 9449 §5.1).</summary>
    public IReadOnlyList<string> Algorithms { get; } = ProofAlgorithms.Allowed(options.Value.Algorithms, profile);

    /// <summary>The nonce that a client may use in its next proof; null: none is needed.</summary>
    public string? NextNonce => isNonceRequired ? nonces.Current() : null;

    /// <summary>Verifies the proof of a request of an authenticated client (RFC 9449 §4.3).</summary>
    /// <param name="headers">The values of the DPoP header, of which there must be one.</param>
    /// <param name="method">The method of the request.</param>
    /// <param name="url">The address of the endpoint as the metadata has it.</param>
    /// <returns>The key that the token is bound to. Refused with invalid_dpop_proof, or with use_dpop_nonce.</returns>
    public Result<Confirmation> Verify(IReadOnlyList<string?> headers, string method, string url)
    {
        if (!DpopProof.Read(headers, Algorithms).TryGet(out var proof, out var error))
            return error;
        if ((VerifySignature(proof) ?? proof.Check(method, url)) is { } refusal)
            return refusal;
        if (isNonceRequired && (proof.Nonce is null || !nonces.IsFresh(proof.Nonce)))
        {
            metrics.NonceDemanded();
            return OAuthError.UseDpopNonce(
                proof.Nonce is null ? Reason.DpopNonceMissing : Reason.DpopNonceStale, nonces.Current());
        }

        if (proof.CheckTimes(clock.GetUtcNow(), hasFreshNonce: isNonceRequired) is { } early)
            return early;
        // With very many proofs the memory forgets some of them early: see above how little a repetition wins.
        if (!memory.TryAdd(IdHash.Of("dpop", proof.Key.Thumbprint, proof.Id)))
        {
            metrics.Replayed("dpop_proof");
            return OAuthError.InvalidDpopProof(Reason.DpopProofReplayed, "The DPoP proof was used before: each request needs a new jti.");
        }

        return new Confirmation(proof.Key.Thumbprint);
    }

    private OAuthError? VerifySignature(DpopProof proof)
    {
        var id = (proof.Algorithm, proof.Key.Thumbprint);
        var isCached = keys.TryGetValue(id, out var key);
        key ??= VerificationKey.Create(proof.Key, proof.Algorithm);
        if (key is null)
        {
            return OAuthError.InvalidDpopProof(
                Reason.DpopProofKey, "The jwk of the DPoP proof does not fit its alg, or is not a valid key.");
        }

        if (proof.IsSignedBy(key))
        {
            if (!isCached)
                keys.Set(id, key);
            return null;
        }

        if (!isCached)
            key.Dispose();
        return OAuthError.InvalidDpopProof(Reason.DpopProofSignature, "The signature of the DPoP proof is wrong.");
    }
}
