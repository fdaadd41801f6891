using System.Buffers.Text;
using System.Text.Json;

namespace TokenService.Jose;

/// <summary>
/// Makes signed JWTs of one type: a JWS in its compact form (RFC 7515 §3.1, §7.1). It writes the bytes itself, because
/// the JWT library takes four times as long, the signature not counted.
/// </summary>
/// <param name="type">The value of <c>typ</c>, by which verifiers tell the kinds of JWT apart (RFC 8725 §3.11).</param>
internal sealed class JwsWriter(string type)
{
    private const int MaxSignatureLength = 512; // RSA with 4096 bits

    // The header for the key that signed last. Most tokens are signed with one key, so one header is kept.
    private volatile Header? last;

    /// <param name="signer">The key to sign with.</param>
    /// <param name="claims">The content of the payload.</param>
    /// <param name="write">Writes the claims as a JSON object.</param>
    /// <returns>The JWT, in ASCII.</returns>
    public byte[] Write<T>(Signer signer, T claims, Action<T, Utf8JsonWriter> write)
    {
        var header = HeaderFor(signer);
        var payload = Utf8Json.Write(claims, write);
        var signedLength = header.Length + 1 + Base64Url.GetEncodedLength(payload.Length);
        var jwt = new byte[signedLength + 1 + Base64Url.GetEncodedLength(signer.SignatureLength)];
        header.CopyTo(jwt);
        jwt[header.Length] = (byte)'.';
        Base64Url.EncodeToUtf8(payload, jwt.AsSpan(header.Length + 1));

        Span<byte> signature = stackalloc byte[MaxSignatureLength];
        signature = signature[..signer.SignatureLength];
        signer.Sign(jwt.AsSpan(0, signedLength), signature);
        jwt[signedLength] = (byte)'.';
        Base64Url.EncodeToUtf8(signature, jwt.AsSpan(signedLength + 1));
        return jwt;
    }

    private byte[] HeaderFor(Signer signer)
    {
        if (last is { } header && header.Signer == signer)
            return header.Encoded;

        var json = Utf8Json.Write((signer, type), static (header, json) =>
        {
            json.WriteStartObject();
            json.WriteString("alg"u8, header.signer.PublicKey.Algorithm);
            json.WriteString("kid"u8, header.signer.PublicKey.Kid);
            json.WriteString("typ"u8, header.type);
            json.WriteEndObject();
        });
        return (last = new Header(signer, Base64Url.EncodeToUtf8(json))).Encoded;
    }

    private sealed record Header(Signer Signer, byte[] Encoded);
}
