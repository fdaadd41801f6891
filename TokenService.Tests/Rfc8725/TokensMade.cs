using System.Buffers.Text;
using System.Text;
using System.Text.Json;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.IdentityModel.JsonWebTokens;
using TokenService.Clients;
using TokenService.Protocol;
using TokenService.Tests.Harness;
using TokenService.Tokens;

namespace TokenService.Tests.Rfc8725;

/// <summary>
/// The JWTs that the server makes. Rfc6750/ResourceServer reads them with a verifier that is not ours.
/// </summary>
[TestFixture, Rfc(8725, "3")]
public sealed class TokensMade : ServerFixture
{
    private static readonly JsonDocumentOptions Strict = new() { AllowDuplicateProperties = false };

    [Test, Rfc(8725, "3.1")]
    public async Task Key_header_and_database_agree_on_the_algorithm()
    {
        var token = (await TokenRequestBuilder.For(Client).SendAsync(Server)).Token;

        var key = (await PublishedKey.ReadAllAsync(Server)).Single(published => published.Kid == token.Kid);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(key.Member("alg"), Is.EqualTo(token.Alg));
            Assert.That(
                await Database.ReadAsync<string>("select alg from token_service.signing_key where kid = @Kid", new { token.Kid }),
                Is.EqualTo(token.Alg));
        }
    }

    // RFC 6749 §10.10: a jti cannot be guessed. This many reveal a constant or a counter, not a weak generator.
    [Test, Rfc(9068, "2.2c"), Rfc(6749, "10.10")]
    public async Task Every_jti_has_128_random_bits_and_is_unique()
    {
        var ids = (await ManyAsync()).Select(token => Base64Url.DecodeFromChars(token.Id)).ToList();

        using (Assert.EnterMultipleScope())
        {
            Assert.That(ids.Select(id => id.Length), Is.All.EqualTo(16));
            Assert.That(ids.Select(Convert.ToHexString), Is.Unique);
            Assert.That(Enumerable.Range(0, 16).Select(i => ids.Select(id => id[i]).Distinct().Count()), Is.All.GreaterThan(100));
        }
    }

    // Two ECDSA signatures with the same R reveal the private key.
    [Test, Rfc(8725, "3.2")]
    public async Task No_two_signatures_share_their_random_part()
    {
        var signatures = (await ManyAsync()).Select(token => Base64Url.DecodeFromChars(token.EncodedSignature));

        Assert.That(signatures.Select(signature => Convert.ToHexString(signature.AsSpan(0, 32))), Is.Unique);
    }

    [Test, Rfc(8725, "3.7")]
    public async Task Header_and_payload_are_JSON_in_UTF8_without_a_repeated_member()
    {
        var token = (await TokenRequestBuilder.For(Client).SendAsync(Server)).Token;

        foreach (var part in new[] { token.EncodedHeader, token.EncodedPayload })
        {
            var utf8 = Base64Url.DecodeFromChars(part);
            Assert.That(() => new UTF8Encoding(false, throwOnInvalidBytes: true).GetString(utf8), Throws.Nothing);
            Assert.That(() => JsonDocument.Parse(utf8, Strict).Dispose(), Throws.Nothing);
        }
    }

    // The issuer publishes the key at the address that the issuer's own metadata gives.
    [Test, Rfc(8725, "3.8")]
    public async Task The_issuer_a_token_names_leads_to_the_key_that_signed_it()
    {
        var token = (await TokenRequestBuilder.For(Client).SendAsync(Server)).Token;

        var metadata = await Server.GetAsync($"{token.Issuer}/.well-known/oauth-authorization-server");
        var jwks = await Server.GetAsync(metadata.Json.GetProperty("jwks_uri").GetString()!);

        var key = jwks.Json.GetProperty("keys").EnumerateArray().Select(jwk => new PublishedKey(jwk)).Single(jwk => jwk.Kid == token.Kid);
        Assert.That(key.Verifies(token.EncodedToken), Is.True);
    }

    /// <summary>Issues tokens without the token endpoint, which would verify a secret each time.</summary>
    private async Task<IReadOnlyList<JsonWebToken>> ManyAsync()
    {
        var client = await Server.Services.GetRequiredService<ClientStore>().FindAsync(Client.Id, CancellationToken.None);
        var grant = new ScopeGrant(ScopeSet.Of(["invoices:read"]), client!.Scopes[0].Resource);
        var issuer = Server.Services.GetRequiredService<AccessTokenIssuer>();
        var tokens = new List<JsonWebToken>();
        while (tokens.Count < 300)
        {
            var prepared = await issuer.PrepareAsync(client!, grant, CancellationToken.None);
            Assert.That(prepared.TryGet(out var token, out _), Is.True);
            tokens.Add(new JsonWebToken(Encoding.ASCII.GetString(issuer.Issue(token, default).Jwt)));
        }

        return tokens;
    }
}
