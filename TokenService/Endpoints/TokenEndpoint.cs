using System.Text.Json;
using TokenService.Authentication;
using TokenService.Configuration;
using TokenService.Limits;
using TokenService.Proofs;
using TokenService.Protocol;
using TokenService.Tokens;
using TokenService.Usage;

namespace TokenService.Endpoints;

/// <summary><c>POST /token</c>: the client credentials grant, RFC 6749 §4.4.</summary>
internal sealed class TokenEndpoint(
    DpopProofs proofs,
    ScopeGrantCache scopeGrants,
    ClientTokenLimit tokenLimit,
    AccessTokenIssuer tokens,
    ClientAuthenticator authenticator,
    UsageCounters usage,
    ServerProfile profile,
    Issuer issuer)
{
    public const string Path = Issuer.TokenPath;

    private readonly string address = issuer.TokenEndpoint;

    public async ValueTask<Result<IAnswer>> GrantAsync(ClientRequest request, CancellationToken ct)
    {
        var (client, requestEvent) = (request.Client, request.Event);

        // 6a. RFC 9449 §5: the key that the token will be bound to. The server's own address counts, not the Host header.
        var proof = request.Headers["DPoP"];
        var isBound = proof.Count > 0;
        var confirmation = default(Confirmation);
        if (isBound && !proofs.Verify(proof, HttpMethods.Post, address).TryGet(out confirmation, out var error))
            return error;
        if (!isBound && (client.RequiresDpop || !profile.AllowsUnboundTokens))
            return ProofMissing("This client's tokens must be bound to a key.");

        // 6b. RFC 6749 §4.4.2 and RFC 8707 §2: the grant, and the scope and resource asked for.
        if (!TokenRequest.Read(request.Form).TryGet(out var asked, out error))
            return error;

        // 6c. RFC 6749 §3.3 and RFC 9068 §3: the scope that is granted, and its resource.
        if (!scopeGrants.Decide(client, asked).TryGet(out var grant, out error))
            return error;
        if (!isBound && grant.Resource.RequiresDpop)
            return ProofMissing("Tokens for this resource must be bound to a key.");

        // 6d. The client's limit of tokens per minute.
        if (!tokenLimit.TryTake(client, out error))
            return error;

        // 6e. The key that signs. After this step nothing but the next one can refuse the request.
        if (!(await tokens.PrepareAsync(client, grant, ct)).TryGet(out var prepared, out error))
            return error;

        // 6f. RFC 7523 §3: an assertion works once. Somebody who sends it again takes no token from the client's limit.
        if (await authenticator.UseUpAsync(request.Caller, requestEvent, ct) is { } refusal)
        {
            tokenLimit.GiveBack(client);
            return refusal;
        }

        // 6g. RFC 9068 §2: the token.
        var token = tokens.Issue(prepared, confirmation);
        usage.ScopesUsed(client.Id, grant.Resource.Id, grant.Scope.Values);
        requestEvent.Resource = grant.Resource.Id;
        requestEvent.Scope = grant.Scope.ToString();
        requestEvent.TokenId = token.Id;
        requestEvent.KeyId = token.KeyId;
        requestEvent.KeyThumbprint = confirmation.KeyThumbprint;

        // 6h. RFC 6749 §5.1: the response, which always has the granted scope.
        return new TokenResponse(token.Jwt, confirmation.TokenType, (long)token.Lifetime.TotalSeconds, grant.Scope.ToString())
        {
            DpopNonce = isBound ? proofs.NextNonce : null,
        };
    }

    private static OAuthError ProofMissing(string what) =>
        OAuthError.InvalidDpopProof(Reason.DpopProofMissing, $"{what} Send a DPoP proof (RFC 9449 §5).");
}

/// <summary>RFC 6749 §5.1. It has no refresh_token, as RFC 6749 §4.4.3 says.</summary>
/// <param name="AccessToken">The JWT, in ASCII.</param>
/// <param name="TokenType"><c>Bearer</c> (RFC 6750) or <c>DPoP</c> (RFC 9449 §5).</param>
/// <param name="ExpiresIn">The lifetime in seconds.</param>
/// <param name="Scope">The granted scope.</param>
internal sealed record TokenResponse(byte[] AccessToken, string TokenType, long ExpiresIn, string Scope) : JsonAnswer
{
    /// <summary>The value of the header DPoP-Nonce (RFC 9449 §8.2); null: the response has none.</summary>
    public string? DpopNonce { get; init; }

    public override void WriteTo(Utf8JsonWriter json)
    {
        json.WriteStartObject();
        json.WriteString("access_token"u8, AccessToken);
        json.WriteString("token_type"u8, TokenType);
        json.WriteNumber("expires_in"u8, ExpiresIn);
        json.WriteString("scope"u8, Scope);
        json.WriteEndObject();
    }

    // A record's own ToString would print the token into any log that is handed one of these.
    public override string ToString() => $"{TokenType} {Scope}";
}
