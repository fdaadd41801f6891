using System.Net;
using Microsoft.Extensions.Options;
using TokenService.Clients;
using TokenService.Configuration;
using TokenService.Limits;
using TokenService.Proofs;
using TokenService.Protocol;

namespace TokenService.Authentication;

/// <summary>
/// Verifies an assertion with the keys of its client (RFC 7523 §3). Nothing is believed of the assertion before a key has
/// verified it; what comes after the signature is checked in the order in which it is cheap. That the assertion works once
/// is not decided here: see <see cref="ClientAuthenticator.UseUpAsync"/>.
/// </summary>
internal sealed class AssertionAuthentication(
    Issuer issuer, IOptions<AssertionOptions> options, ServerProfile profile, BadSignatureLimiter badSignatures, TimeProvider clock)
{
    // Keys that an assertion without kid is tried with. Each costs a verification.
    private const int MaxTried = 4;

    /// <summary>The values of token_endpoint_auth_signing_alg_values_supported (RFC 8414 §2).</summary>
    public IReadOnlyList<string> Algorithms { get; } = ProofAlgorithms.Allowed(options.Value.Algorithms, profile);

    /// <param name="assertion">The assertion, of which only the form was checked.</param>
    /// <param name="client">The client that it names; null: there is none that may authenticate so.</param>
    /// <param name="source">The caller's address.</param>
    public Result<VerifiedCredential> Verify(ClientAssertion assertion, Client? client, IPAddress? source)
    {
        // The time of the answer tells whether such a client exists. That is no secret (RFC 6749 §2.2).
        if (client is null)
            return OAuthError.InvalidClient(Reason.UnknownClient);
        // RFC 8725 §3.1.
        if (assertion.Algorithm is not { } algorithm || !Algorithms.Contains(algorithm, StringComparer.Ordinal))
            return OAuthError.InvalidClient(Reason.AssertionAlgorithmWrong);

        var now = clock.GetUtcNow();
        if (!Candidates(client, assertion.KeyId, algorithm, now).TryGet(out var keys, out var error))
            return error;
        if (badSignatures.IsRefused(client.Id, source, out var wait))
            return OAuthError.TooManyRequests(Reason.TooManyFailuresOfTarget, wait);
        if (keys.FirstOrDefault(key => key.VerificationKey is { } usable && assertion.IsSignedBy(usable)) is not { } signer)
        {
            badSignatures.Failed(client.Id, source);
            return OAuthError.InvalidClient(Reason.AssertionSignatureWrong);
        }

        badSignatures.Succeeded(client.Id, source);
        return assertion.Check(RulesFor(client, now)).TryGet(out var once, out error)
            ? new VerifiedCredential.Key(signer, once)
            : error;
    }

    /// <summary>
    /// Text for the event of a client that still sends the address of the token endpoint as aud, and may for a while; null:
    /// it sends the issuer.
    /// </summary>
    public string? RemarkOn(ClientAssertion assertion) =>
        assertion.IsFor(issuer.Value) ? null : "the aud is the token endpoint; the client should send the issuer";

    // RFC 8725 §3.10: kid is used for a look-up and for nothing else. The row and not the header says the key's algorithm.
    private static Result<IReadOnlyList<ClientKey>> Candidates(Client client, string? kid, string algorithm, DateTimeOffset now)
    {
        if (kid is null)
        {
            List<ClientKey> keys = [.. client.Keys.Where(key => key.IsFor(algorithm) && key.FailureAt(now) is null).Take(MaxTried)];
            return keys.Count > 0 ? keys : OAuthError.InvalidClient(Reason.AssertionKeyUnknown);
        }

        if (client.FindKey(kid) is not { } key)
            return OAuthError.InvalidClient(Reason.AssertionKeyUnknown);
        if (!key.IsFor(algorithm))
            return OAuthError.InvalidClient(Reason.AssertionAlgorithmWrong, $"the key is for {key.Algorithm}");
        if (key.FailureAt(now) is { } failure)
            return OAuthError.InvalidClient(failure);
        return key.VerificationKey is null
            ? OAuthError.InvalidClient(Reason.KeyUnusable, "it is not a valid key, or this machine lacks libsodium for Ed25519")
            : (Result<IReadOnlyList<ClientKey>>)new[] { key };
    }

    private AssertionRules RulesFor(Client client, DateTimeOffset now) => new(
        issuer.Value,
        profile.AllowsTokenEndpointAsAudience && client.TokenEndpointAudienceUntil > now ? issuer.TokenEndpoint : null,
        options.Value.Age,
        now);
}
