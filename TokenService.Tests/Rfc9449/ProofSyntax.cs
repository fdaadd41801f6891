using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Json.Nodes;
using TokenService.Jose;
using TokenService.Protocol;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Rfc9449;

/// <summary>The form of a DPoP proof: one header, one JWT, a key that the caller chooses.</summary>
[TestFixture, Rfc(9449, "4.2"), Rfc(9449, "5a")]
public sealed class ProofSyntax : ProofFixture
{
    private const string OneHeader = "There must be one DPoP header with one proof.";
    private const string NoJwt = "The DPoP proof is not a JWT in compact form, or has critical extensions.";
    private const string OtherType = "The typ of the DPoP proof is not dpop+jwt.";
    private const string OtherAlgorithm = "The alg of the DPoP proof is not among dpop_signing_alg_values_supported of the metadata.";
    private const string WrongSignature = "The signature of the DPoP proof is wrong.";
    private const string DoesNotFit = "The jwk of the DPoP proof does not fit its alg, or is not a valid key.";
    private const string UnknownKind = "is neither RSA nor on the curve P-256, P-384 or Ed25519";
    private const string BadCoordinate = "has a coordinate that is missing, or is not base64url of full length";
    private const string BadModulus = "has a modulus that is even, or not of 2048 to 4096 bits";
    private const string BadExponent = "has an exponent that is even, 1, or 2^32 or more";
    private const string WrongDate = "The iat of the DPoP proof, or its exp or nbf, is not a number of seconds.";

    [Test, Rfc(9449, "4.3h")]
    public async Task A_proof_is_accepted_with_each_algorithm_of_the_metadata(
        [Values("ES256", "ES384", "PS256", "Ed25519")] string algorithm)
    {
        Assume.That(algorithm != "Ed25519" || Libsodium.IsAvailable, "Ed25519 needs libsodium");
        var key = TestKey.Create(algorithm);

        await IsBoundAsync(Proof(key));
        await IsBoundAsync(Proof(key)); // the key is cached now
        if (algorithm == "Ed25519")
            await IsBoundAsync(Proof(key).WithHeader("alg", "EdDSA"));
    }

    [Test, Rfc(9449, "4.1"), Rfc(9449, "4.3a")]
    public async Task Two_proofs_are_refused([Values] bool inOneHeader)
    {
        var request = TokenRequestBuilder.For(Client);
        request = inOneHeader
            ? request.WithHeader("DPoP", $"{Proof().Signed()}, {Proof().Signed()}")
            : request.WithHeader("DPoP", Proof().Signed()).WithHeader("DPoP", Proof().Signed());

        await IsRefusedAsync(await request.SendAsync(Server), Reason.DpopProofMalformed, OneHeader);
    }

    [Rfc(9449, "4.3a")]
    [TestCase("malformed")]
    [TestCase("a.b.c")]
    [TestCase("{0}.x")]
    [TestCase("{0}=")]
    [TestCase("x{0}")]
    public async Task A_header_that_is_no_JWT_is_refused(string format) => await IsRefusedAsync(
        string.Format(System.Globalization.CultureInfo.InvariantCulture, format, Proof().Signed()), Reason.DpopProofMalformed, NoJwt);

    // The name of a header has no case (RFC 9110 §5.1).
    [Test]
    public async Task The_header_may_be_written_in_any_case() =>
        (await TokenRequestBuilder.For(Client).WithHeader("DPOP", Proof().Signed()).SendAsync(Server)).IsGrant(tokenType: "DPoP");

    [Test, Rfc(9449, "4.3m")]
    public async Task A_proof_has_at_most_4_KiB()
    {
        await IsBoundAsync(Proof().WithClaim("pad", new string('x', 2600)));
        await IsRefusedAsync(
            Proof().WithClaim("pad", new string('x', 2900)), Reason.DpopProofMalformed, "The DPoP proof is longer than 4096 characters.");
    }

    [Test, Rfc(9449, "4.2b"), Rfc(9449, "4.3f"), Rfc(8725, "3.12")]
    public async Task Typ_must_be_that_of_a_proof(
        [Values(
            null, "\"JWT\"", "\"at+jwt\"", "\"client-authentication+jwt\"", "\"token-introspection+jwt\"", "\"revoked-tokens+jwt\"",
            "\"dpop\"", "\"\"", "null", "7")] string? json) =>
        await IsRefusedAsync(
            json is null ? Proof().WithoutHeader("typ") : Proof().WithHeader("typ", JsonNode.Parse(json)),
            Reason.DpopProofMalformed, OtherType);

    [Test, Rfc(9449, "4.3f")]
    public async Task Typ_may_have_another_case_and_application_before_it(
        [Values("DPoP+JWT", "application/dpop+jwt", "APPLICATION/DPOP+JWT")] string type) =>
        await IsBoundAsync(Proof().WithHeader("typ", type));

    [Test, Rfc(9449, "4.2b"), Rfc(9449, "4.3b"), Rfc(9449, "4.3h"), Rfc(8725, "3.2")]
    public async Task Alg_must_be_one_of_the_metadata(
        [Values(null, "\"none\"", "\"HS256\"", "\"RS256\"", "\"es256\"", "\"ES512\"", "\"\"", "null", "7", "[\"ES256\"]")] string? json) =>
        await IsRefusedAsync(
            json is null ? Proof().WithoutHeader("alg") : Proof().WithHeader("alg", JsonNode.Parse(json)),
            Reason.DpopProofAlgorithm, OtherAlgorithm);

    [Test, Rfc(9449, "4.3h"), Rfc(8725, "3.1")]
    public async Task Alg_must_fit_the_key([Values("ES384", "PS256")] string algorithm) =>
        await IsRefusedAsync(Proof().WithHeader("alg", algorithm), Reason.DpopProofKey, DoesNotFit);

    [Test, Rfc(9449, "4.3b")]
    public async Task The_signature_must_be_of_the_key_in_the_header()
    {
        await IsRefusedAsync(Proof().SignedBy(TestKey.Create()), Reason.DpopProofSignature, WrongSignature);
        await IsRefusedAsync(Proof().WithSignature(_ => []), Reason.DpopProofSignature, WrongSignature);
        await IsRefusedAsync(Proof().WithSignature(_ => new byte[64]), Reason.DpopProofSignature, WrongSignature);
        await IsRefusedAsync(
            Proof().WithSignature(input => { var s = Key.Sign(input); s[40] ^= 1; return s; }), Reason.DpopProofSignature, WrongSignature);
    }

    [Test, Rfc(9449, "4.2"), Rfc(9449, "4.3g")]
    public async Task A_private_member_in_the_key_is_refused([Values("d", "p", "q", "dp", "dq", "qi", "oth", "k")] string member)
    {
        var jwk = Key.Jwk.DeepClone().AsObject();
        jwk[member] = "AQAB";

        await IsRefusedAsync(Proof().WithHeader("jwk", jwk), Reason.DpopProofKey, NoKey("has a private member"));
    }

    [Rfc(9449, "4.2b"), Rfc(9449, "4.3g")]
    [TestCase("null", "is not a JSON object")]
    [TestCase("\"key\"", "is not a JSON object")]
    [TestCase("[]", "is not a JSON object")]
    [TestCase("{}", UnknownKind)]
    [TestCase("{\"kty\":\"oct\",\"alg\":\"HS256\"}", UnknownKind)]
    [TestCase("{\"kty\":\"EC\",\"crv\":\"P-521\",\"x\":\"AA\",\"y\":\"AA\"}", UnknownKind)]
    [TestCase("{\"kty\":\"EC\",\"crv\":\"secp256k1\",\"x\":\"AA\",\"y\":\"AA\"}", UnknownKind)]
    [TestCase("{\"kty\":\"OKP\",\"crv\":\"Ed448\",\"x\":\"AA\"}", UnknownKind)]
    [TestCase("{\"kty\":\"AKP\",\"alg\":\"ML-DSA-44\",\"pub\":\"AA\"}", UnknownKind)]
    [TestCase("{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AA\",\"y\":\"AA\"}", BadCoordinate)]
    [TestCase("{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AA\"}", "has an x that is missing, or is not base64url of 32 bytes")]
    [TestCase("{\"kty\":\"RSA\",\"n\":\"AQAB\"}", "has an n or e that is missing, or is not base64url")]
    [TestCase("{\"kty\":\"RSA\",\"n\":\"AAEB\",\"e\":\"AQAB\"}", "has an n or e with a zero octet at its front")]
    public async Task A_key_that_is_no_key_is_refused(string json, string defect) =>
        await IsRefusedAsync(Proof().WithHeader("jwk", JsonNode.Parse(json)), Reason.DpopProofKey, NoKey(defect));

    [Test, Rfc(9449, "4.2b")]
    public async Task A_proof_without_a_key_is_refused() =>
        await IsRefusedAsync(Proof().WithoutHeader("jwk"), Reason.DpopProofKey, NoKey("is not a JSON object"));

    [Test, Rfc(9449, "4.3g")]
    public async Task A_key_has_one_spelling([Values("padding", "stray bits", "white space", "shorter", "longer")] string spelling)
    {
        var jwk = Key.Jwk.DeepClone().AsObject();
        var x = jwk["x"]!.GetValue<string>();
        var bytes = Base64Url.DecodeFromChars(x);
        jwk["x"] = spelling switch
        {
            "padding" => x + "=",
            "stray bits" => x[..^1] + Stray(x[^1]),
            "white space" => x + "\n",
            "shorter" => Base64Url.EncodeToString(bytes.AsSpan(1)),
            _ => Base64Url.EncodeToString([0, .. bytes]),
        };

        await IsRefusedAsync(
            Proof().WithHeader("jwk", jwk), Reason.DpopProofKey, NoKey(BadCoordinate));

        // The last character of 32 bytes has two bits that mean nothing.
        static char Stray(char last)
        {
            const string alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
            return alphabet[alphabet.IndexOf(last, StringComparison.Ordinal) + 1];
        }
    }

    [Test, Rfc(9449, "4.3g"), Rfc(8725, "3.4")]
    public async Task A_point_that_is_not_on_the_curve_is_refused()
    {
        var jwk = Key.Jwk.DeepClone().AsObject();
        jwk["y"] = jwk["x"]!.DeepClone();

        await IsRefusedAsync(Proof().WithHeader("jwk", jwk), Reason.DpopProofKey, DoesNotFit);
    }

    // With the neutral element as key, R = that element and S = 0 is a signature over everything, for a lax verifier.
    [Test, Rfc(9864, "2.2"), Rfc(8725, "3.4")]
    public async Task An_Ed25519_key_of_small_order_verifies_nothing()
    {
        Assume.That(Libsodium.IsAvailable, "Ed25519 needs libsodium");
        byte[] neutral = [1, .. new byte[31]];
        var jwk = new JsonObject { ["kty"] = "OKP", ["crv"] = "Ed25519", ["x"] = Base64Url.EncodeToString(neutral) };

        await IsRefusedAsync(
            Proof().WithHeader("alg", "Ed25519").WithHeader("jwk", jwk).WithSignature(_ => [.. neutral, .. new byte[32]]),
            Reason.DpopProofSignature, WrongSignature);
    }

    // RFC 8032 §5.1.7: S is below the order of the group, so a signature has no twin.
    [Test, Rfc(9864, "2.2")]
    public async Task An_Ed25519_signature_has_one_form()
    {
        Assume.That(Libsodium.IsAvailable, "Ed25519 needs libsodium");
        var key = TestKey.Create("Ed25519");
        var order = System.Numerics.BigInteger.Pow(2, 252)
            + System.Numerics.BigInteger.Parse("27742317777372353535851937790883648493", System.Globalization.CultureInfo.InvariantCulture);

        await IsRefusedAsync(
            Proof(key).WithSignature(input =>
            {
                var signature = key.Sign(input);
                var twin = (new System.Numerics.BigInteger(signature.AsSpan(32), isUnsigned: true) + order).ToByteArray(isUnsigned: true);
                return [.. signature[..32], .. twin, .. new byte[32 - twin.Length]];
            }),
            Reason.DpopProofSignature, WrongSignature);
    }

    // A verification with such a key takes from a hundred times as long to minutes.
    [Rfc(9449, "4.3g")]
    [TestCase(1024, 3, BadModulus)]
    [TestCase(2047, 3, BadModulus)]
    [TestCase(4097, 3, BadModulus)]
    [TestCase(16_384, 3, BadModulus)]
    [TestCase(2048, 40, BadExponent)]
    [TestCase(2048, 4000, BadExponent)]
    [TestCase(2048, 0, BadExponent, Description = "an exponent of 1")]
    public async Task A_hostile_RSA_key_is_refused_before_anything_is_computed(int modulusBits, int exponentBits, string defect)
    {
        var jwk = new JsonObject { ["kty"] = "RSA", ["n"] = Odd(modulusBits), ["e"] = Odd(exponentBits) };

        await IsRefusedAsync(Proof().WithHeader("alg", "PS256").WithHeader("jwk", jwk), Reason.DpopProofKey, NoKey(defect));

        // An odd number of exactly so many bits; 0 bits give the number 1.
        static string Odd(int bits)
        {
            var bytes = new byte[Math.Max(1, (bits + 7) / 8)];
            RandomNumberGenerator.Fill(bytes);
            bytes[0] = (byte)(bits == 0 ? 0 : (bytes[0] | 0x80) >> ((8 - (bits % 8)) % 8));
            bytes[^1] |= 1;
            return Base64Url.EncodeToString(bits == 0 ? [1] : bytes);
        }
    }

    [Test, Rfc(9449, "4.3g")]
    public async Task An_even_modulus_or_exponent_is_refused([Values("n", "e")] string member)
    {
        var jwk = TestKey.Create("PS256").Jwk;
        var bytes = Base64Url.DecodeFromChars(jwk[member]!.GetValue<string>());
        bytes[^1] &= 0xFE;
        jwk[member] = Base64Url.EncodeToString(bytes);

        await IsRefusedAsync(
            Proof().WithHeader("alg", "PS256").WithHeader("jwk", jwk.DeepClone()), Reason.DpopProofKey,
            NoKey(member == "n" ? BadModulus : BadExponent));
    }

    [Rfc(9449, "4.3g")]
    [TestCase("use", "\"enc\"", "has a use other than sig")]
    [TestCase("use", "7", "has a use other than sig")]
    [TestCase("key_ops", "[\"sign\"]", "has key_ops without verify")]
    [TestCase("key_ops", "\"verify\"", "has key_ops without verify")]
    public async Task A_key_for_another_use_is_refused(string member, string json, string defect)
    {
        var jwk = Key.Jwk.DeepClone().AsObject();
        jwk[member] = JsonNode.Parse(json);

        await IsRefusedAsync(Proof().WithHeader("jwk", jwk), Reason.DpopProofKey, NoKey(defect));
    }

    [Test, Rfc(9449, "4.3g"), Rfc(9449, "6b")]
    public async Task Other_members_of_the_key_do_not_change_its_thumbprint()
    {
        var jwk = Key.Jwk.DeepClone().AsObject();
        (jwk["kid"], jwk["use"], jwk["alg"], jwk["x5u"]) = ("any", "sig", "ES256", "https://x.example.com");
        jwk["key_ops"] = new JsonArray("verify");

        var token = (await SendAsync(Proof().WithHeader("jwk", jwk))).Token;
        Assert.That(token.GetPayloadValue<JsonElement>("cnf").GetRawText(), Is.EqualTo($$"""{"jkt":"{{Key.Thumbprint}}"}"""));
    }

    [Test, Rfc(9449, "4.2b"), Rfc(9449, "4.3m")]
    public async Task Jti_must_be_a_string_of_1_to_256_characters([Values(null, "\"\"", "null", "7", "257")] string? json) =>
        await IsRefusedAsync(
            json switch
            {
                null => Proof().WithoutClaim("jti"),
                "257" => Proof().WithClaim("jti", new string('j', 257)),
                _ => Proof().WithClaim("jti", JsonNode.Parse(json)),
            },
            Reason.DpopProofMalformed, "The jti of the DPoP proof is not a string of 1 to 256 characters.");

    [Test, Rfc(9449, "4.2b"), Rfc(9449, "4.3i")]
    public async Task Htm_must_be_POST([Values(null, "\"GET\"", "\"post\"", "\"\"", "null", "7", "[\"POST\"]")] string? json) =>
        await IsRefusedAsync(
            json is null ? Proof().WithoutClaim("htm") : Proof().WithClaim("htm", JsonNode.Parse(json)),
            Reason.DpopProofRequest, "The htm of the DPoP proof is not the method of this request.");

    [Test, Rfc(9449, "4.2b"), Rfc(9449, "4.2c")]
    public async Task Dates_must_be_numbers(
        [Values("iat", "exp", "nbf")] string claim, [Values("null", "\"1\"", "-1", "1e400", "253402300800", "{}")] string json)
    {
        var claims = Proof().WithoutClaim(claim).Claims;

        await IsRefusedAsync(
            Proof().WithRawClaims($$"""{"{{claim}}":{{json}},{{claims[1..]}}"""), Reason.DpopProofMalformed, WrongDate);
    }

    [Test, Rfc(9449, "4.2b")]
    public async Task Iat_must_be_there() => await IsRefusedAsync(Proof().WithoutClaim("iat"), Reason.DpopProofMalformed, WrongDate);

    [Test, Rfc(9449, "4.2c"), Rfc(9449, "4.3l")]
    public async Task More_members_do_no_harm()
    {
        var now = Server.Clock.GetUtcNow().ToUnixTimeSeconds();

        await IsBoundAsync(Proof().WithHeader("kid", "k").WithHeader("x5u", "https://x.example.com").WithHeader("unknown", true)
            .WithClaim("nbf", now).WithClaim("exp", now + 300).WithClaim("unknown", 7).WithClaim("ath", "none").WithClaim("nonce", "none"));
    }

    [Test]
    public async Task Critical_extensions_are_refused() =>
        await IsRefusedAsync(Proof().WithHeader("crit", new JsonArray("b64")), Reason.DpopProofMalformed, NoJwt);

    [Test, Rfc(8725, "3.7")]
    public async Task A_member_that_repeats_and_a_payload_that_is_no_object_are_refused()
    {
        var (header, claims) = (Proof().Header, Proof().Claims);

        await IsRefusedAsync(Proof().WithRawHeader($$"""{"alg":"none",{{header[1..]}}"""), Reason.DpopProofMalformed, NoJwt);
        foreach (var payload in new[] { $$"""{"htm":"GET",{{claims[1..]}}""", "[]", "null", "", "\"{}\"" })
        {
            await IsRefusedAsync(
                Proof().WithRawClaims(payload), Reason.DpopProofMalformed, "The payload of the DPoP proof is not a JSON object.");
        }
    }

    // The key of the proof signs nothing else, and what others sign is no proof.
    [Test, Rfc(9449, "11.5"), Rfc(8725, "3.12")]
    public async Task An_assertion_or_a_token_in_the_header_is_refused()
    {
        var token = (await TokenRequestBuilder.For(Client).SendAsync(Server)).Token.EncodedToken;

        await IsRefusedAsync(token, Reason.DpopProofMalformed, OtherType);
        await IsRefusedAsync(SignedJwt.Assertion(Server, "billing", Key).Signed(), Reason.DpopProofMalformed, OtherType);
        await IsRefusedAsync(
            SignedJwt.Assertion(Server, "billing", Key)
                .WithHeader("typ", "client-authentication+jwt").WithHeader("jwk", Key.Jwk.DeepClone()),
            Reason.DpopProofMalformed, OtherType);
    }

    [Test]
    public async Task Nothing_of_a_proof_is_logged()
    {
        var (good, bad) = (Proof().Signed(), Proof().SignedBy(TestKey.Create()));
        await SendAsync(good);
        await SendAsync(good);
        await Server.Events.OfAsync((await SendAsync(bad)).RequestId); // the events are written in order

        var logged = string.Join('\n', Server.Log.Lines.Concat(Server.Events.Lines));
        foreach (var part in new[] { good, bad }.SelectMany(jwt => jwt.Split('.')))
            Assert.That(logged, Does.Not.Contain(part));
        Assert.That(logged, Does.Not.Contain(Key.Jwk["x"]!.GetValue<string>()));
    }

    private static string NoKey(string defect) => $"The DPoP proof has no jwk that can be used: the key {defect}.";
}
