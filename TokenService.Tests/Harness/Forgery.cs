using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;
using Microsoft.Extensions.DependencyInjection;
using TokenService.Jose;
using TokenService.Keys;

namespace TokenService.Tests.Harness;

/// <summary>A token taken apart, to be spoiled in one place and put together again.</summary>
internal sealed class Forgery(string jwt)
{
    // The server writes JSON the same way, so that an unchanged part is the same to the byte and an old signature fits
    // it.
    private static readonly JsonSerializerOptions AsIs = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    private readonly JsonObject header = Part(jwt, 0);
    private readonly JsonObject payload = Part(jwt, 1);
    private byte[]? rawHeader;
    private byte[]? rawPayload;

    /// <summary>The private key that this server signs with, for forgeries with no flaw but the test's own.</summary>
    public static async Task<ECDsa> KeyOfAsync(TestServer server)
    {
        var keys = server.Services.GetRequiredService<SigningKeys>();
        var signer = await keys.SignerAsync(algorithm: null, lifetime: TimeSpan.Zero, CancellationToken.None);
        if (!signer.TryGet(out var key, out var error))
            throw new InvalidOperationException(error.Reason);
        var sealedKeys = await server.Services.GetRequiredService<SigningKeyStore>().LoadSealedAsync(CancellationToken.None);
        var pkcs8 = server.Services.GetRequiredService<SealingKeys>().Unseal(sealedKeys.Single(row => row.Kid == key.PublicKey.Kid));
        return (ECDsa)SignatureAlgorithm.Of(key.PublicKey.Algorithm).ReadPair(pkcs8);
    }

    public Forgery WithHeader(string name, JsonNode value)
    {
        header[name] = value;
        return this;
    }

    public Forgery WithClaim(string name, JsonNode value)
    {
        payload[name] = value;
        return this;
    }

    public Forgery WithoutClaim(string name)
    {
        payload.Remove(name);
        return this;
    }

    public Forgery WithoutHeader(string name)
    {
        header.Remove(name);
        return this;
    }

    /// <summary>Adds a member before all others in the header, even if there is one of that name.</summary>
    public Forgery WithHeaderBefore(string name, string json) => WithRawHeader(Before(header, name, json));

    /// <summary>Adds a member before all others in the payload, even if there is one of that name.</summary>
    public Forgery WithClaimBefore(string name, string json) => WithRawPayload(Before(payload, name, json));

    /// <summary>Replaces the header by this text, which need not be JSON.</summary>
    public Forgery WithRawHeader(string text) => WithRawHeader(Encoding.UTF8.GetBytes(text));

    public Forgery WithRawHeader(byte[] bytes)
    {
        rawHeader = bytes;
        return this;
    }

    /// <summary>Replaces the payload by this text, which need not be JSON.</summary>
    public Forgery WithRawPayload(string text) => WithRawPayload(Encoding.UTF8.GetBytes(text));

    public Forgery WithRawPayload(byte[] bytes)
    {
        rawPayload = bytes;
        return this;
    }

    public string SignedBy(ECDsa key, DSASignatureFormat format = DSASignatureFormat.IeeeP1363FixedFieldConcatenation) =>
        Signed(input => key.SignData(input, HashAlgorithmName.SHA256, format));

    public string SignedWith(byte[] secret) => Signed(input => HMACSHA256.HashData(secret, input));

    /// <summary>Replaces the signature by these bytes.</summary>
    public string WithSignature(byte[] signature) => Signed(_ => signature);

    public string Unsigned() => Signed(_ => []);

    /// <summary>Keeps the signature of the original token.</summary>
    public string WithOldSignature() => Signed(_ => Base64Url.DecodeFromChars(jwt.Split('.')[2]));

    /// <summary>Keeps the signature of the original token, with one bit flipped.</summary>
    public string WithDamagedSignature()
    {
        var signature = Base64Url.DecodeFromChars(jwt.Split('.')[2]);
        signature[^1] ^= 1;
        return Signed(_ => signature);
    }

    private string Signed(Func<byte[], byte[]> sign)
    {
        var input = $"{Base64Url.EncodeToString(rawHeader ?? Utf8(header))}.{Base64Url.EncodeToString(rawPayload ?? Utf8(payload))}";
        return $"{input}.{Base64Url.EncodeToString(sign(Encoding.ASCII.GetBytes(input)))}";
    }

    private static JsonObject Part(string jwt, int index) =>
        JsonNode.Parse(Base64Url.DecodeFromChars(jwt.Split('.')[index]))!.AsObject();

    private static byte[] Utf8(JsonObject part) => Encoding.UTF8.GetBytes(part.ToJsonString(AsIs));

    private static string Before(JsonObject part, string name, string json) =>
        $$"""{"{{name}}":{{json}},{{part.ToJsonString(AsIs)[1..]}}""";
}
