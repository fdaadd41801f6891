using System.Buffers.Text;
using System.Security.Cryptography;

namespace TokenService.Bench;

/// <summary>
/// Floods of bad assertions and of DPoP proofs with hostile keys, beside which the server must go on serving recognised
/// clients. All are made before the flood. They are sent again when all were sent.
/// </summary>
/// <param name="port">The server's port.</param>
/// <param name="folder">The folder for files of requests.</param>
/// <param name="attacked">The client in whose name assertions are sent.</param>
/// <param name="hostile">The client that sends proofs with hostile keys.</param>
/// <param name="makeAll">Makes many lines.</param>
internal sealed class ProofFloods(
    int port, string folder, KeyClient attacked, BenchClient hostile, Func<int, Func<string>, string[]> makeAll)
{
    private const int Connections = 64;
    private const int Assertions = 10_000;
    private const int Proofs = 2_000; // they are long

    // More than the server keeps keys of proofs, so that a key that is sent again is not known either.
    private const int FreshKeys = 4_300;

    public IReadOnlyList<Flood> All =>
    [
        Requests("wrong signatures of a real client", Assertions, () => WithWrongSignature(attacked).Line()),
        Requests("distinct unknown key ids of a real client", Assertions, () => WithWrongSignature(attacked).Line(SigningKey.NewId())),
        Requests("distinct unknown clients", Assertions, () => WithWrongSignature(Invented()).Line()),
        Requests("one assertion, again and again", 1, () => attacked.Line()),
        Proof("proofs with RSA keys of 16,384 bits", Proofs, () => Rsa(modulusBits: 16_384, exponentBits: 17, signatureLength: 64)),
        Proof("proofs with an RSA exponent of 4,000 bits", Proofs, () => Rsa(2048, exponentBits: 4000, signatureLength: 256)),
        Proof("proofs with a point off the curve", Proofs, OffTheCurve),
        Proof("proofs with valid RSA keys of 4,096 bits, all different", FreshKeys, ManyPrimesKey.Create),
    ];

    private Flood Proof(string name, int count, Func<SigningKey> key) => Requests(name, count, () => $"{hostile.Basic} {key().Proof()}");

    private Flood Requests(string name, int count, Func<string> line)
    {
        string[] lines = [];
        return new Flood(name, (seconds, ct) => Wrk.FloodAsync(port, folder, lines, Connections, seconds, ct))
        {
            PrepareAsync = _ =>
            {
                lines = makeAll(count, line);
                return Task.CompletedTask;
            },
        };
    }

    private static KeyClient WithWrongSignature(KeyClient client) => client with { Key = Unsigned("ES256", client.Key.Jwk, length: 64) };

    private static KeyClient Invented() => new($"nobody-{SigningKey.NewId()}", Unsigned("ES256", "", length: 64));

    // With a long signature the proof would be refused for its length, before its key is looked at.
    private static SigningKey Rsa(int modulusBits, int exponentBits, int signatureLength) =>
        Unsigned("PS256", SigningKey.RsaJwk(OddNumber(modulusBits), OddNumber(exponentBits)), signatureLength);

    private static SigningKey OffTheCurve() => Unsigned(
        "ES256", $$"""{"kty":"EC","crv":"P-256","x":"{{OddNumber(255)}}","y":"{{OddNumber(255)}}"}""", length: 64);

    private static SigningKey Unsigned(string algorithm, string jwk, int length) =>
        new(algorithm, jwk, _ => RandomNumberGenerator.GetBytes(length));

    // In base64url, with the highest bit set.
    private static string OddNumber(int bits)
    {
        var number = RandomNumberGenerator.GetBytes((bits + 7) / 8);
        var top = (bits - 1) % 8;
        number[0] = (byte)((number[0] & ((1 << top) - 1)) | (1 << top));
        number[^1] |= 1;
        return Base64Url.EncodeToString(number);
    }
}
