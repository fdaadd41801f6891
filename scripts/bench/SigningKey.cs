using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;
using TokenService.Jose;

namespace TokenService.Bench;

/// <summary>A key pair of a caller, which signs its assertions or DPoP proofs. Many threads may use it at once.</summary>
internal sealed class SigningKey
{
    /// <summary>Bits of an RSA key.</summary>
    public const int RsaBits = 2048;

    private readonly Func<byte[], byte[]> sign;

    /// <param name="algorithm">The value of <c>alg</c>.</param>
    /// <param name="jwk">The public half as JSON.</param>
    /// <param name="sign">Signs, or makes bytes that are no signature.</param>
    public SigningKey(string algorithm, string jwk, Func<byte[], byte[]> sign) => (Algorithm, Jwk, this.sign) = (algorithm, jwk, sign);

    public string Algorithm { get; }

    public string Jwk { get; }

    /// <param name="algorithm">ES256 or PS256.</param>
    public static SigningKey Create(string algorithm)
    {
        var signatures = SignatureAlgorithm.Of(algorithm);
        var pair = signatures.CreatePair(RsaBits);
        var jwk = signatures.ToPublicJwk(pair);
        return new SigningKey(
            algorithm,
            jwk.Kty == "RSA" ? RsaJwk(jwk.N, jwk.E) : $$"""{"kty":"EC","crv":"{{jwk.Crv}}","x":"{{jwk.X}}","y":"{{jwk.Y}}"}""",
            input =>
            {
                var signature = new byte[signatures.SignatureLength(pair)];
                signatures.Sign(pair, input, signature);
                return signature;
            });
    }

    public static string RsaJwk(string n, string e) => $$"""{"kty":"RSA","n":"{{n}}","e":"{{e}}"}""";

    /// <returns>The JWT in its compact form.</returns>
    public string Sign(string header, string claims)
    {
        var input = $"{Encode(header)}.{Encode(claims)}";
        return $"{input}.{Base64Url.EncodeToString(sign(Encoding.ASCII.GetBytes(input)))}";
    }

    /// <summary>A DPoP proof for a token request, with a new jti.</summary>
    public string Proof()
    {
        var now = DateTimeOffset.UtcNow.ToUnixTimeSeconds();
        return Sign(
            $$"""{"typ":"dpop+jwt","alg":"{{Algorithm}}","jwk":{{Jwk}}}""",
            $$"""{"jti":"{{NewId()}}","htm":"POST","htu":"{{TokenServer.Issuer}}/token","iat":{{now}}}""");
    }

    public static string NewId() => Base64Url.EncodeToString(RandomNumberGenerator.GetBytes(16));

    private static string Encode(string json) => Base64Url.EncodeToString(Encoding.ASCII.GetBytes(json));
}

/// <summary>A client that authenticates with a key (RFC 7523).</summary>
internal sealed record KeyClient(string Id, SigningKey Key)
{
    public const string Kid = "k1";

    // No assertion of a run expires in it, so that no id is deleted meanwhile.
    private static readonly TimeSpan Lifetime = TimeSpan.FromMinutes(5);

    /// <summary>The form of a token request with a new assertion.</summary>
    /// <param name="kid">The key id that it names.</param>
    public string Form(string kid = Kid)
    {
        var now = DateTimeOffset.UtcNow.ToUnixTimeSeconds();
        var (issuer, id, exp) = (TokenServer.Issuer, SigningKey.NewId(), now + (long)Lifetime.TotalSeconds);
        var assertion = Key.Sign(
            $$"""{"alg":"{{Key.Algorithm}}","kid":"{{kid}}"}""",
            $$"""{"iss":"{{Id}}","sub":"{{Id}}","aud":"{{issuer}}","jti":"{{id}}","iat":{{now}},"exp":{{exp}}}""");
        return "grant_type=client_credentials&scope=bench%3Aread"
            + "&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer"
            + $"&client_assertion={assertion}";
    }

    /// <summary>The same as a line for wrk.</summary>
    public string Line(string kid = Kid) => $"FORM {Form(kid)}";

    /// <summary>A complete token request with a new assertion.</summary>
    public byte[] Request()
    {
        var form = Form();
        return Encoding.ASCII.GetBytes(
            "POST /token HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            + $"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {form.Length}\r\n\r\n{form}");
    }
}
