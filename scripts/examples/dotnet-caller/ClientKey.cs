using System.Text.Json.Nodes;

namespace Examples;

/// <summary>
/// A client that authenticates with a key of its own and has no secret (<c>private_key_jwt</c>, RFC 7523 §2.2).
/// </summary>
/// <param name="clientId">The client_id of this program.</param>
/// <param name="issuer">The issuer of the server's metadata, character by character: the aud of the assertions.</param>
/// <param name="key">The client's private key. Not the key of <see cref="DpopKey"/>.</param>
public sealed class ClientKey(string clientId, string issuer, SigningKey key) : ClientAuthentication
{
    private const int Lifetime = 60; // seconds

    // An assertion works once, so each request gets its own.
    internal override IEnumerable<KeyValuePair<string, string?>> AddTo(HttpRequestMessage request, DateTimeOffset now) =>
    [
        new("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
        new("client_assertion", Assertion(now.ToUnixTimeSeconds())),
    ];

    private string Assertion(long now) => key.Sign(
        new JsonObject { ["typ"] = "client-authentication+jwt", ["kid"] = key.KeyId },
        new JsonObject
        {
            ["iss"] = clientId,
            ["sub"] = clientId,
            ["aud"] = issuer,
            ["jti"] = SigningKey.NewId(),
            ["iat"] = now,
            ["exp"] = now + Lifetime,
        });
}
