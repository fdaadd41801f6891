using System.Buffers.Text;
using System.Collections.Concurrent;
using System.Net;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;

namespace Examples;

/// <summary>
/// Adds a DPoP proof (RFC 9449 §4.2) to each request, and sends the request once more when the server demands a nonce.
/// It is the inner handler: of the token endpoint's client, where the proof binds the token to the key, and of the API's
/// client, beneath <see cref="ClientCredentialsHandler"/>, where the proof shows that this program has the key.
/// </summary>
/// <param name="key">The same for the token endpoint and the API: a token is of no use with another key.</param>
public sealed class DpopHandler(DpopKey key) : DelegatingHandler
{
    protected override async Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
    {
        var response = await SendWithProofAsync(request, cancellationToken);
        if (!await DemandsNonceAsync(response, cancellationToken) || !Patience.CanBeSentAgain(request.Content))
            return response;

        response.Dispose();
        return await SendWithProofAsync(request, cancellationToken);
    }

    private async Task<HttpResponseMessage> SendWithProofAsync(HttpRequestMessage request, CancellationToken ct)
    {
        request.Headers.Remove("DPoP");
        request.Headers.Add("DPoP", key.ProofFor(request));
        var response = await base.SendAsync(request, ct);
        key.KeepNonce(request.RequestUri!, response);
        return response;
    }

    // RFC 9449 §8, the token endpoint; §9, an API. A body that was read into memory can be read again.
    private static async Task<bool> DemandsNonceAsync(HttpResponseMessage response, CancellationToken ct) => response.StatusCode switch
    {
        HttpStatusCode.BadRequest =>
            (await response.Content.ReadAsStringAsync(ct)).Contains("\"use_dpop_nonce\"", StringComparison.Ordinal),
        HttpStatusCode.Unauthorized => response.Headers.WwwAuthenticate.Any(challenge =>
            challenge.Scheme.Equals("DPoP", StringComparison.OrdinalIgnoreCase)
            && challenge.Parameter?.Contains("error=\"use_dpop_nonce\"", StringComparison.Ordinal) == true),
        _ => false,
    };
}

/// <summary>
/// The key that a program's tokens are bound to, and the last nonce of each server. The program makes it as it starts, and
/// keeps it for as long as it keeps a token.
/// </summary>
/// <param name="clock">The system's clock, except in tests.</param>
public sealed class DpopKey(TimeProvider? clock = null)
{
    private readonly SigningKey key = SigningKey.Create();
    private readonly TimeProvider clock = clock ?? TimeProvider.System;
    private readonly ConcurrentDictionary<string, string> nonces = new(); // by origin

    internal string ProofFor(HttpRequestMessage request)
    {
        var claims = new JsonObject
        {
            ["jti"] = SigningKey.NewId(),
            ["htm"] = request.Method.Method,
            ["htu"] = request.RequestUri!.GetLeftPart(UriPartial.Path),
            ["iat"] = clock.GetUtcNow().ToUnixTimeSeconds(),
        };
        // The token endpoint gets no token, but perhaps a secret, by the scheme Basic.
        if (request.Headers.Authorization is { Scheme: "DPoP", Parameter: { } token })
            claims["ath"] = Base64Url.EncodeToString(SHA256.HashData(Encoding.ASCII.GetBytes(token)));
        if (nonces.TryGetValue(Origin(request.RequestUri), out var nonce))
            claims["nonce"] = nonce;
        return key.Sign(new JsonObject { ["typ"] = "dpop+jwt", ["jwk"] = key.PublicJwk.DeepClone() }, claims);
    }

    // RFC 9449 §8.2: any answer may bring the next nonce.
    internal void KeepNonce(Uri address, HttpResponseMessage response)
    {
        if (response.Headers.TryGetValues("DPoP-Nonce", out var values) && values.ToArray() is [var nonce])
            nonces[Origin(address)] = nonce;
    }

    private static string Origin(Uri address) => address.GetLeftPart(UriPartial.Authority);
}
