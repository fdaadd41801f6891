using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.IdentityModel.Tokens;
using TokenService.Keys;

namespace TokenService.Tests.Harness;

/// <summary>
/// The flaw that a verifier should find in a token. Each bad token has one flaw, so that only this flaw can be the
/// reason of a refusal.
/// </summary>
internal enum Flaw
{
    Malformed,
    Type,

    /// <summary>
    /// RFC 7519 §5.1: the type of any JWT. An API that expects at+jwt refuses the token. Introspection and revocation take
    /// it, because an admin may choose this type for a resource.
    /// </summary>
    PlainType,
    Signature,
    UnknownKey,
    Issuer,
    Audience,
    Expired,
    NoExpiry,
    NotYetValid,

    /// <summary>
    /// RFC 7515 §4, RFC 7519 §4: a member occurs twice, and the last is right. A parser may refuse the token or use the
    /// last one.
    /// </summary>
    Repeated,

    /// <summary>RFC 7515 §4.1.11: <c>crit</c> names an extension that no verifier here understands.</summary>
    Critical,
}

/// <param name="Name">The flaw in words.</param>
/// <param name="Flaw">The kind of flaw, for a test that expects a different answer to each kind.</param>
/// <param name="Token">The token. It has only characters that a header or form value can hold.</param>
internal sealed record BadToken(string Name, Flaw Flaw, string Token);

/// <summary>
/// Every kind of bad token, made from a good one. The server's real key signs each bad token, unless the signature is
/// the flaw. An endpoint's test runs over <see cref="Cases"/> and takes the tokens from here:
/// <code>
/// [TestCaseSource(typeof(BadTokens), nameof(BadTokens.Cases))]
/// public async Task A_bad_token_is_refused(string name) { var bad = badTokens[name]; ... }
/// </code>
/// A token whose key was withdrawn is not a forgery: see <see cref="WithdrawnAsync"/>.
/// </summary>
internal sealed class BadTokens
{
    private const int Large = 100_000;

    private const int Deep = 5_000;

    private static readonly Kind[] Kinds =
    [
        // RFC 9068 §4, RFC 8725 §3.11: the type.
        new("the type of any JWT", Flaw.PlainType, "RFC9068-4a", t => t.Good.WithHeader("typ", "JWT").SignedBy(t.RealKey)),
        new("the type of an answer to introspection", Flaw.Type, "RFC9068-4a",
            t => t.Good.WithHeader("typ", "token-introspection+jwt").SignedBy(t.RealKey)),
        new("the type of a DPoP proof", Flaw.Type, "RFC9068-4a", t => t.Good.WithHeader("typ", "dpop+jwt").SignedBy(t.RealKey)),
        new("no type", Flaw.Type, "RFC9068-4a", t => t.Good.WithoutHeader("typ").SignedBy(t.RealKey)),

        // RFC 9068 §4: issuer, audience and lifetime.
        new("another issuer", Flaw.Issuer, "RFC9068-4b", t => t.Good.WithClaim("iss", "https://evil.example.com").SignedBy(t.RealKey)),
        new("an issuer with a slash more", Flaw.Issuer, "RFC9068-4b",
            t => t.Good.WithClaim("iss", TestServer.Issuer + "/").SignedBy(t.RealKey)),
        new("no issuer", Flaw.Issuer, "RFC9068-4b", t => t.Good.WithoutClaim("iss").SignedBy(t.RealKey)),
        new("another audience", Flaw.Audience, "RFC9068-4c",
            t => t.Good.WithClaim("aud", "https://ledger.example.com").SignedBy(t.RealKey)),
        new("no audience", Flaw.Audience, "RFC9068-4c", t => t.Good.WithoutClaim("aud").SignedBy(t.RealKey)),
        new("an end long past", Flaw.Expired, "RFC9068-4e", t => t.Good.WithClaim("exp", 1_000_000_000).SignedBy(t.RealKey)),
        new("no end", Flaw.NoExpiry, "RFC9068-4e", t => t.Good.WithoutClaim("exp").SignedBy(t.RealKey)),
        new("a beginning in the far future", Flaw.NotYetValid, "RFC7519-4.1.5",
            t => t.Good.WithClaim("nbf", 9_999_999_998).WithClaim("exp", 9_999_999_999).SignedBy(t.RealKey)),

        // RFC 8725 §3.2 and §3.3: the signature.
        new("a bit of its signature turned over", Flaw.Signature, "RFC8725-3.3", t => t.Good.WithDamagedSignature()),
        new("a claim changed under its signature", Flaw.Signature, "RFC8725-3.3",
            t => t.Good.WithClaim("scope", "invoices:write").WithOldSignature()),
        new("its end moved under its signature", Flaw.Signature, "RFC8725-3.3",
            t => t.Good.WithClaim("exp", 9_999_999_999).WithOldSignature()),
        new("no signature", Flaw.Signature, "RFC8725-3.3", t => t.Good.Unsigned()),
        // An ECDSA implementation that does not check r and s accepts this signature under any key.
        new("a signature of zeros", Flaw.Signature, "RFC8725-3.3", t => t.Good.WithSignature(new byte[64])),
        new("alg none", Flaw.Signature, "RFC9068-4d", t => t.Good.WithHeader("alg", "none").Unsigned()),
        new("alg nOnE", Flaw.Signature, "RFC9068-4d", t => t.Good.WithHeader("alg", "nOnE").Unsigned()),
        new("alg none, and a signature", Flaw.Signature, "RFC9068-4d", t => t.Good.WithHeader("alg", "none").WithOldSignature()),
        new("an alg nobody knows", Flaw.Signature, "RFC9068-4d", t => t.Good.WithHeader("alg", "ES257").SignedBy(t.RealKey)),
        new("the alg of another kind of key", Flaw.Signature, "RFC8725-3.1", t => t.Good.WithHeader("alg", "RS256").SignedBy(t.RealKey)),
        new("a foreign key under our kid", Flaw.Signature, "RFC8725-3.8", t => t.Good.SignedBy(t.ForeignKey)),
        new("a signature in DER", Flaw.Signature, "RFC7518-3.4",
            t => t.Good.SignedBy(t.RealKey, DSASignatureFormat.Rfc3279DerSequence)),

        // RFC 8725 §3.1: the public key used as an HMAC secret, in every encoding that an attacker may try.
        new("HS256, by the public key in PEM", Flaw.Signature, "RFC8725-3.1",
            t => t.Good.WithHeader("alg", "HS256").SignedWith(Encoding.ASCII.GetBytes(t.RealKey.ExportSubjectPublicKeyInfoPem()))),
        new("HS256, by the public key in DER", Flaw.Signature, "RFC8725-3.1",
            t => t.Good.WithHeader("alg", "HS256").SignedWith(t.RealKey.ExportSubjectPublicKeyInfo())),
        new("HS256, by the point of the public key", Flaw.Signature, "RFC8725-3.1",
            t => t.Good.WithHeader("alg", "HS256").SignedWith(Point(t.RealKey))),

        // RFC 8725 §3.10: a kid only looks up a published key, and a header never supplies a key.
        new("a kid nobody published", Flaw.UnknownKey, "RFC8725-3.10", t => t.Good.WithHeader("kid", "unknown").SignedBy(t.ForeignKey)),
        new("a kid that is SQL", Flaw.UnknownKey, "RFC8725-3.10", t => t.Good.WithHeader("kid", "' or 1=1 --").SignedBy(t.ForeignKey)),
        new("a kid of 10 kB", Flaw.UnknownKey, "RFC8725-3.10",
            t => t.Good.WithHeader("kid", new string('k', 10_000)).SignedBy(t.ForeignKey)),
        new("its own key in jwk", Flaw.Signature, "RFC8725-3.10",
            t => t.Good.WithHeader("jwk", Jwk(t.ForeignKey)).SignedBy(t.ForeignKey)),
        new("the address of its own key in jku", Flaw.Signature, "RFC8725-3.10",
            t => t.Good.WithHeader("jku", "http://127.0.0.1:1/jwks.json").SignedBy(t.ForeignKey)),
        new("the address of its own key in x5u", Flaw.Signature, "RFC8725-3.10",
            t => t.Good.WithHeader("x5u", "http://127.0.0.1:1/key.pem").SignedBy(t.ForeignKey)),

        // RFC 7515 §4, §4.1.11, RFC 7519 §4.
        new("an extension that is critical", Flaw.Critical, "RFC7515-4.1.11",
            t => t.Good.WithHeader("crit", new JsonArray("x")).WithHeader("x", 1).SignedBy(t.RealKey)),
        new("an audience twice, the right one last", Flaw.Repeated, "RFC8725-3.7",
            t => t.Good.WithClaimBefore("aud", "\"https://ledger.example.com\"").SignedBy(t.RealKey)),
        new("an alg twice, the right one last", Flaw.Repeated, "RFC8725-3.7",
            t => t.Good.WithHeaderBefore("alg", "\"none\"").SignedBy(t.RealKey)),
        new("an alg twice, none last, unsigned", Flaw.Signature, "RFC8725-3.7",
            t => t.Good.WithHeader("alg", "none").WithHeaderBefore("alg", "\"ES256\"").Unsigned()),
        new("an end twice, the past one last", Flaw.Expired, "RFC8725-3.7",
            t => t.Good.WithClaim("exp", 1_000_000_000).WithClaimBefore("exp", "9999999999").SignedBy(t.RealKey)),

        // RFC 7519 §7.2: text that is not a JWT.
        new("one word", Flaw.Malformed, "RFC7519-7.2", _ => "rubbish"),
        new("dots alone", Flaw.Malformed, "RFC7519-7.2", _ => ".."),
        new("two parts", Flaw.Malformed, "RFC7519-7.2", t => t.Text[..t.Text.LastIndexOf('.')]),
        new("four parts", Flaw.Malformed, "RFC7519-7.2", t => t.Text + ".AAAA"),
        new("five parts, as if encrypted", Flaw.Malformed, "RFC7519-7.2", t => t.Text + ".AAAA.AAAA"),
        new("a part that is not Base64url", Flaw.Malformed, "RFC7515-2", t => "%" + t.Text),
        new("a header that is not JSON", Flaw.Malformed, "RFC7519-7.2", t => t.Good.WithRawHeader("{alg").SignedBy(t.RealKey)),
        new("a header that is an array", Flaw.Malformed, "RFC7519-7.2", t => t.Good.WithRawHeader("[]").SignedBy(t.RealKey)),
        new("an alg that is a number", Flaw.Malformed, "RFC7519-7.2", t => t.Good.WithHeader("alg", 256).SignedBy(t.RealKey)),
        new("a payload that is not JSON", Flaw.Malformed, "RFC7519-7.2", t => t.Good.WithRawPayload("{iss").SignedBy(t.RealKey)),
        new("a payload that is an array", Flaw.Malformed, "RFC7519-7.2", t => t.Good.WithRawPayload("[]").SignedBy(t.RealKey)),
        new("a payload that is null", Flaw.Malformed, "RFC7519-7.2", t => t.Good.WithRawPayload("null").SignedBy(t.RealKey)),
        new("an empty payload", Flaw.Malformed, "RFC7519-7.2", t => t.Good.WithRawPayload("").SignedBy(t.RealKey)),
        new("a payload that is not UTF-8", Flaw.Malformed, "RFC8725-3.7",
            t => t.Good.WithRawPayload([.. "{\"sub\":\""u8, 0xff, 0xfe, .. "\"}"u8]).SignedBy(t.RealKey)),
        new("an end that is a word", Flaw.Malformed, "RFC7519-4.1.4", t => t.Good.WithClaim("exp", "never").SignedBy(t.RealKey)),
        new("an end that is an object", Flaw.Malformed, "RFC7519-4.1.4",
            t => t.Good.WithClaim("exp", new JsonObject()).SignedBy(t.RealKey)),
        new("an end beyond all numbers", Flaw.Malformed, "RFC7519-4.1.4",
            t => t.Good.WithoutClaim("exp").WithClaimBefore("exp", "1e999").SignedBy(t.RealKey)),
        new("a deeply nested claim", Flaw.Malformed, "RFC8725-3.7",
            t => t.Good.WithClaimBefore("x", Nested()).SignedBy(t.RealKey)),
        new("a deeply nested header", Flaw.Malformed, "RFC8725-3.7", t => t.Good.WithHeaderBefore("x", Nested()).SignedBy(t.RealKey)),
        new("100 kB of rubbish", Flaw.Malformed, "RFC7519-7.2", _ => new string('x', Large)),
        new("100 kB of dots", Flaw.Malformed, "RFC7519-7.2", _ => new string('.', Large)),
        new("100 kB of rubbish in three parts", Flaw.Malformed, "RFC7519-7.2",
            _ => $"{new string('x', Large / 3)}.{new string('y', Large / 3)}.{new string('z', Large / 3)}"),
        new("a signature of 100 kB", Flaw.Signature, "RFC8725-3.3", t => t.Good.WithSignature(new byte[Large * 3 / 4])),
    ];

    private readonly Dictionary<string, BadToken> all;

    private BadTokens(IEnumerable<BadToken> all) => this.all = all.ToDictionary(token => token.Name);

    public BadToken this[string name] => all[name];

    /// <summary>All bad tokens, for a test that sends one after another.</summary>
    public IReadOnlyCollection<BadToken> All => all.Values;

    /// <param name="server">The server whose key signs.</param>
    /// <param name="good">A token that this server issued and that a verifier would accept.</param>
    public static async Task<BadTokens> MakeAsync(TestServer server, string good)
    {
        using var foreignKey = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var material = new Material(good, await Forgery.KeyOfAsync(server), foreignKey);
        return new BadTokens(Kinds.Select(kind => new BadToken(kind.Name, kind.Flaw, kind.Make(material))).ToList());
    }

    /// <summary>The name of each bad token, with the clause as category.</summary>
    public static IEnumerable<TestCaseData> Cases() => CasesWhere(_ => true);

    /// <summary>The cases with the flaws that a test expects one answer to.</summary>
    public static IEnumerable<TestCaseData> CasesWhere(Func<Flaw, bool> isIncluded) =>
        Kinds.Where(kind => isIncluded(kind.Flaw)).Select(kind =>
            new TestCaseData(kind.Name).SetArgDisplayNames(kind.Name).SetCategory(kind.Clause));

    /// <summary>
    /// A token that was valid until its key was withdrawn. The server knows of the withdrawal and signs with another
    /// key.
    /// </summary>
    public static async Task<string> WithdrawnAsync(Database database, TestServer server, TestClient client)
    {
        var token = (await TokenRequestBuilder.For(client).SendAsync(server)).Token;
        await database.WithdrawKeyAsync(token.Kid, server.Clock.GetUtcNow());
        await server.Services.GetRequiredService<KeyRotation>().StepAsync(CancellationToken.None);
        return token.EncodedToken;
    }

    private static string Nested() => $"{new string('[', Deep)}{new string(']', Deep)}";

    private static byte[] Point(ECDsa key)
    {
        var point = key.ExportParameters(includePrivateParameters: false).Q;
        return [.. point.X!, .. point.Y!];
    }

    private static JsonObject Jwk(ECDsa key)
    {
        var point = key.ExportParameters(includePrivateParameters: false).Q;
        return new JsonObject
        {
            ["kty"] = "EC",
            ["crv"] = "P-256",
            ["x"] = Base64UrlEncoder.Encode(point.X),
            ["y"] = Base64UrlEncoder.Encode(point.Y),
        };
    }

    private sealed record Kind(string Name, Flaw Flaw, string Clause, Func<Material, string> Make);

    private sealed record Material(string Text, ECDsa RealKey, ECDsa ForeignKey)
    {
        public Forgery Good => new(Text);
    }
}
