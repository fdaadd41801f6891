using System.Buffers.Text;
using System.Globalization;
using System.Security.Cryptography;
using System.Text.Json.Nodes;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Examples;

/// <summary>
/// DPoP at the unchanged scripts/examples/aspnetcore-api: what FAPI 2.0's conformance suite sends to a protected
/// resource, and more of the same kind. Callers know the API by its public address, as behind a proxy.
/// </summary>
[TestFixture, Rfc(9449, "7.1"), Rfc(9449, "4.3")]
public sealed class AspNetCoreApiDpop : BoundTokenFixture
{
    private const string Url = "https://api.example.com/invoices";
    private const string Metadata = "resource_metadata=\"https://api.example.com/.well-known/oauth-protected-resource\"";

    private static readonly Dictionary<string, Func<ApiDpopProof, ApiDpopKey, string>> Good = new()
    {
        ["htu with a query"] = (proof, _) => proof.With("htu", Url + "?a=b").Signed(),
        ["htu with a fragment"] = (proof, _) => proof.With("htu", Url + "#a").Signed(),
        ["htu with an upper-case scheme and host"] = (proof, _) => proof.With("htu", "HTTPS://API.EXAMPLE.COM/invoices").Signed(),
        ["htu with the default port"] = (proof, _) => proof.With("htu", "https://api.example.com:443/invoices").Signed(),
        ["members that nobody knows"] = (proof, _) =>
            proof.WithHeader("kid", "x").WithHeader("x", new JsonObject()).With("x", new JsonArray(1)).WithJwk("use", "enc").Signed(),
        ["exp and nbf"] = (proof, _) => proof.With("exp", Seconds(60)).With("nbf", Seconds(0)).Signed(),
        ["iat 10 seconds ago"] = (proof, _) => proof.With("iat", Seconds(-10)).Signed(),
        ["iat in 10 seconds"] = (proof, _) => proof.With("iat", Seconds(10)).Signed(),
        ["iat and nbf in 10 seconds"] = (proof, _) => proof.With("iat", Seconds(10)).With("nbf", Seconds(10)).Signed(),
        ["iat with a fraction"] = (proof, _) => proof.With("iat", Seconds(0) + 0.5).Signed(),
        ["typ as a media type, in capitals"] = (proof, _) => proof.WithHeader("typ", "Application/DPoP+JWT").Signed(),
        ["jti of 256 characters"] = (proof, _) => proof.With("jti", new string('j', 256)).Signed(),
        ["a nonce that nobody asked for"] = (proof, _) => proof.With("nonce", "x").Signed(),
        ["4096 characters"] = (proof, _) => OfLength(proof, 4096),
    };

    private static readonly Dictionary<string, (string Flaw, Func<ApiDpopProof, ApiDpopKey, string> Spoil)> Bad = new()
    {
        ["no JWT"] = (NoJwt, (_, _) => "not-a-jwt"),
        ["an empty header"] = (NoJwt, (_, _) => ""),
        ["two proofs with a comma"] = (NoJwt, (proof, _) => $"{proof.Signed()}, {proof.Signed()}"),
        ["four parts"] = (NoJwt, (proof, _) => proof.Signed() + ".e30"),
        ["padding"] = (NoJwt, (proof, _) => proof.Signed() + "=="),
        ["a second spelling of the signature"] = (NoJwt, (proof, _) => Respelt(proof.Signed())),
        ["a claim twice"] = (NoJwt, (proof, _) => proof.WithClaimAfter($"\"htm\":\"GET\"").Signed()),
        ["a header member twice"] = (NoJwt, (proof, _) => proof.WithHeaderAfter("\"typ\":\"dpop+jwt\"").Signed()),
        ["JSON 33 deep"] = (NoJwt, (proof, _) =>
            proof.WithClaimAfter($"\"x\":{new string('[', 32)}{new string(']', 32)}").Signed()),
        ["half a character"] = (NoJwt, (proof, _) => proof.WithClaimAfter("\"x\":\"\\ud800\"").Signed()),
        ["4097 characters"] = ("The DPoP proof has more than 4096 characters.", (proof, _) => OfLength(proof, 4097)),

        ["no typ"] = (Typ, (proof, _) => proof.WithoutHeader("typ").Signed()),
        ["the typ of any JWT"] = (Typ, (proof, _) => proof.WithHeader("typ", "JWT").Signed()),
        ["the typ of an access token"] = (Typ, (proof, _) => proof.WithHeader("typ", "at+jwt").Signed()),
        ["the typ of another application"] = (Typ, (proof, _) => proof.WithHeader("typ", "text/dpop+jwt").Signed()),
        ["a typ that is no string"] = (Typ, (proof, _) => proof.WithHeader("typ", 1).Signed()),

        ["no alg"] = (Alg, (proof, _) => proof.WithoutHeader("alg").Signed()),
        ["alg none"] = (Alg, (proof, _) => proof.WithHeader("alg", "none").SignedBy(_ => [])),
        ["alg HS256"] = (Alg, (proof, _) => proof.WithHeader("alg", "HS256").Signed()),
        ["alg in small letters"] = (Alg, (proof, _) => proof.WithHeader("alg", "es256").Signed()),
        ["critical extensions"] = ("The DPoP proof has critical extensions.", (proof, _) =>
            proof.WithHeader("crit", new JsonArray("x")).Signed()),

        ["no jwk"] = ("The DPoP proof has no jwk.", (proof, _) => proof.WithoutHeader("jwk").Signed()),
        ["a jwk that is text"] = (Jwk, (proof, _) => proof.WithHeader("jwk", proof.Jwk.ToJsonString()).Signed()),
        ["a jwk of null"] = (Jwk, (proof, _) => proof.WithHeader("jwk", null).Signed()),
        ["a private key"] = (Jwk, (proof, key) => proof.WithJwk("d", key.PrivateMember).Signed()),
        ["a private member of null"] = (Jwk, (proof, _) => proof.WithJwk("oth", null).Signed()),
        ["another curve's name"] = (Jwk, (proof, _) => proof.WithJwk("crv", "P-384").Signed()),
        ["another kind of key"] = (Jwk, (proof, _) => proof.WithJwk("kty", "RSA").Signed()),
        ["the alg of another curve"] = (Jwk, (proof, _) => proof.WithHeader("alg", "ES384").Signed()),
        ["a point that is not on the curve"] = (Jwk, (proof, _) => proof.WithJwk("x", Base64Url.EncodeToString(new byte[32])).Signed()),
        ["a coordinate with a zero more"] = (Jwk, (proof, _) =>
            proof.WithJwk("x", Base64Url.EncodeToString([0, .. Base64Url.DecodeFromChars((string)proof.Jwk["x"]!)])).Signed()),
        ["a coordinate with padding"] = (Jwk, (proof, _) => proof.WithJwk("x", (string)proof.Jwk["x"]! + "=").Signed()),
        ["a symmetric key"] = (Jwk, (proof, _) =>
            proof.WithHeader("jwk", new JsonObject { ["kty"] = "oct", ["k"] = "AAAA" }).Signed()),

        ["a damaged signature"] = (Signature, (proof, key) => proof.SignedBy(data => Damaged(key.Sign(data)))),
        ["no signature"] = (Signature, (proof, _) => proof.SignedBy(_ => [])),
        ["a signature in DER"] = (Signature, (proof, key) => proof.SignedBy(data =>
            ((ECDsa)key.Pair).SignData(data, HashAlgorithmName.SHA256, DSASignatureFormat.Rfc3279DerSequence))),

        ["no jti"] = (Jti, (proof, _) => proof.Without("jti").Signed()),
        ["an empty jti"] = (Jti, (proof, _) => proof.With("jti", "").Signed()),
        ["a jti that is a number"] = (Jti, (proof, _) => proof.With("jti", 1).Signed()),
        ["a jti of 257 characters"] = (Jti, (proof, _) => proof.With("jti", new string('j', 257)).Signed()),

        ["no htm"] = (Htm, (proof, _) => proof.Without("htm").Signed()),
        ["another htm"] = (Htm, (proof, _) => proof.With("htm", "POST").Signed()),
        ["htm in small letters"] = (Htm, (proof, _) => proof.With("htm", "get").Signed()),
        ["htm of null"] = (Htm, (proof, _) => proof.With("htm", null).Signed()),

        ["no htu"] = (Htu, (proof, _) => proof.Without("htu").Signed()),
        ["htu of another host"] = (Htu, (proof, _) => proof.With("htu", "https://evil.example.com/invoices").Signed()),
        ["htu of another path"] = (Htu, (proof, _) => proof.With("htu", Url + "/1").Signed()),
        ["htu in another case"] = (Htu, (proof, _) => proof.With("htu", "https://api.example.com/Invoices").Signed()),
        ["htu with a slash more"] = (Htu, (proof, _) => proof.With("htu", Url + "/").Signed()),
        ["htu of another port"] = (Htu, (proof, _) => proof.With("htu", "https://api.example.com:8443/invoices").Signed()),
        ["htu of another scheme"] = (Htu, (proof, _) => proof.With("htu", "http://api.example.com/invoices").Signed()),
        ["htu with user info"] = (Htu, (proof, _) => proof.With("htu", "https://api@api.example.com/invoices").Signed()),
        ["htu with empty user info"] = (Htu, (proof, _) => proof.With("htu", "https://@api.example.com/invoices").Signed()),
        ["htu with a path to be resolved"] = (Htu, (proof, _) => proof.With("htu", "https://api.example.com/a/../invoices").Signed()),
        ["htu with an escape"] = (Htu, (proof, _) => proof.With("htu", "https://api.example.com/%69nvoices").Signed()),
        ["htu with backslashes"] = (Htu, (proof, _) => proof.With("htu", "https:\\\\api.example.com\\invoices").Signed()),
        ["htu with a space behind it"] = (Htu, (proof, _) => proof.With("htu", Url + " ").Signed()),
        ["htu without a host"] = (Htu, (proof, _) => proof.With("htu", "/invoices").Signed()),
        ["htu that is a list"] = (Htu, (proof, _) => proof.With("htu", new JsonArray(Url)).Signed()),

        ["no ath"] = (Ath, (proof, _) => proof.Without("ath").Signed()),
        ["the ath of another token"] = (Ath, (proof, _) => proof.With("ath", Base64Url.EncodeToString(SHA256.HashData("x"u8))).Signed()),
        ["ath with padding"] = (Ath, (proof, _) => proof.With("ath", proof["ath"] + "=").Signed()),

        ["no iat"] = ("iat of the DPoP proof is not a time.", (proof, _) => proof.Without("iat").Signed()),
        ["iat as text"] = ("iat of the DPoP proof is not a time.", (proof, _) =>
            proof.With("iat", Seconds(0).ToString(CultureInfo.InvariantCulture)).Signed()),
        ["iat an hour ago"] = (Iat, (proof, _) => proof.With("iat", Seconds(-3600)).Signed()),
        ["iat in an hour"] = (Iat, (proof, _) => proof.With("iat", Seconds(3600)).Signed()),
        ["iat beyond all numbers"] = (Iat, (proof, _) => proof.Without("iat").WithClaimAfter("\"iat\":1e999").Signed()),
        ["exp an hour ago"] = ("The DPoP proof has expired.", (proof, _) => proof.With("exp", Seconds(-3600)).Signed()),
        ["exp of null"] = ("The DPoP proof has expired.", (proof, _) => proof.With("exp", null).Signed()),
        ["nbf in an hour"] = ("The DPoP proof is not valid yet.", (proof, _) => proof.With("nbf", Seconds(3600)).Signed()),
    };

    private const string NoJwt = "The DPoP header does not hold one JWT.";
    private const string Typ = "typ of the DPoP proof is not dpop+jwt.";
    private const string Alg = "alg of the DPoP proof is not one of those in algs.";
    private const string Jwk = "jwk of the DPoP proof is not a public key for its alg.";
    private const string Signature = "The signature of the DPoP proof is wrong.";
    private const string Jti = "jti of the DPoP proof is not a string of 1 to 256 characters.";
    private const string Htm = "htm of the DPoP proof is not the method of the request.";
    private const string Htu = "htu of the DPoP proof is not the address of the request.";
    private const string Ath = "ath of the DPoP proof is not the hash of the access token.";
    private const string Iat = "iat of the DPoP proof is not within 60 seconds before and 30 seconds after the time of this API.";

    private ExampleApi api = null!;

    private ApiDpopProof Proof => new(Key, Url, Token, DateTimeOffset.UtcNow);

    [OneTimeSetUp]
    public async Task StartApi() =>
        api = await ExampleApi.StartAsync(Server.Address.OriginalString, settings: "--Dpop:PublicAddress=https://api.example.com");

    [OneTimeTearDown]
    public async Task StopApi() => await (api?.DisposeAsync() ?? ValueTask.CompletedTask);

    [TestCaseSource(nameof(GoodNames))]
    public async Task The_API_accepts_a_proof_with(string name) => IsServed(await SendAsync(Good[name](Proof, Key)));

    [TestCaseSource(nameof(BadNames)), Rfc(9449, "7.1b"), Rfc(9449, "4.2b")]
    public async Task The_API_refuses_a_proof_with(string name)
    {
        var (flaw, spoil) = Bad[name];

        IsRefused(await SendAsync(spoil(Proof, Key)), "invalid_dpop_proof", flaw);
    }

    [Test]
    public async Task The_API_takes_the_scheme_in_any_case([Values("DPoP", "dpop", "DPOP", "dPoP")] string scheme) =>
        IsServed(await SendAsync(Proof.Signed(), $"{scheme} {Token}"));

    [Test, Rfc(9110, "5.1")]
    public async Task The_API_takes_the_header_in_any_case([Values("DPOP", "dpop")] string name) =>
        IsServed(await SendAsync(Proof.Signed(), proofHeader: name));

    [Test, Rfc(9449, "4.3h")]
    public async Task The_API_accepts_a_proof_of_each_algorithm(
        [Values("ES256", "ES384", "PS256")] string algorithm)
    {
        using var key = ApiDpopKey.Create(algorithm);
        var token = BoundTo(key);

        IsServed(await SendAsync(new ApiDpopProof(key, Url, token, DateTimeOffset.UtcNow).Signed(), $"DPoP {token}"));
    }

    [Test, Rfc(9449, "4.3h")]
    public async Task The_API_refuses_RS256()
    {
        using var key = ApiDpopKey.Create("RS256");
        var token = BoundTo(key);

        IsRefused(await SendAsync(new ApiDpopProof(key, Url, token, DateTimeOffset.UtcNow).Signed(), $"DPoP {token}"),
            "invalid_dpop_proof", Alg);
    }

    [TestCase("e", "AQ")]
    [TestCase("e", "BA")]
    [TestCase("e", "AAEAAQ")]
    [TestCase("e", "AQAAAAE")]
    [Rfc(9449, "4.3g")]
    public async Task The_API_refuses_an_RSA_key_with_a_bad_exponent(string member, string value)
    {
        using var key = ApiDpopKey.Create("PS256");
        var token = BoundTo(key);

        var proof = new ApiDpopProof(key, Url, token, DateTimeOffset.UtcNow).WithJwk(member, value).Signed();
        IsRefused(await SendAsync(proof, $"DPoP {token}"), "invalid_dpop_proof", Jwk);
    }

    [Test, Rfc(9449, "4.3g")]
    public async Task The_API_refuses_an_RSA_key_that_is_too_short_or_too_long([Values(1024, 2040, 4104)] int bits)
    {
        using var key = ApiDpopKey.Create("PS256", bits);
        var token = BoundTo(key);

        IsRefused(await SendAsync(new ApiDpopProof(key, Url, token, DateTimeOffset.UtcNow).Signed(), $"DPoP {token}"),
            "invalid_dpop_proof", Jwk);
    }

    [Test]
    public async Task The_API_refuses_a_bound_token_without_a_proof() =>
        IsRefused(await SendAsync(proof: null), "invalid_dpop_proof", "The request must have one DPoP header.");

    // HttpClient would join the two headers, so the request is written by hand.
    [Test, Rfc(9449, "4.1"), Rfc(9449, "4.3a")]
    public async Task The_API_refuses_two_proofs()
    {
        await using var connection = await RawConnection.OpenAsync(api.Address);
        await connection.SendAsync(
            $"GET /invoices HTTP/1.1\nHost: api\nAuthorization: DPoP {Token}\nDPoP: {Proof.Signed()}\nDPoP: {Proof.Signed()}\n\n");

        IsRefused(await connection.ReadAnswerAsync(), "invalid_dpop_proof", "The request must have one DPoP header.");
    }

    // giantswarm/mcp-oauth#384 compared ath alone.
    [Test, Rfc(9449, "7.1c"), Rfc(9449, "4.3e")]
    public async Task The_API_refuses_a_proof_by_another_key()
    {
        using var other = ApiDpopKey.Create();

        IsRefused(await SendAsync(new ApiDpopProof(other, Url, Token, DateTimeOffset.UtcNow).Signed()),
            "invalid_token", "The token is bound to another key than that of the DPoP proof.");
    }

    [Test, Rfc(9449, "11.1")]
    public async Task The_API_refuses_a_proof_that_was_used_before()
    {
        var proof = Proof.Signed();
        IsServed(await SendAsync(proof));

        IsRefused(await SendAsync(proof), "invalid_dpop_proof", "The DPoP proof was used before.");
    }

    [Test, Rfc(9449, "11.1")]
    public async Task Two_keys_may_use_the_same_jti()
    {
        using var other = ApiDpopKey.Create();
        var token = BoundTo(other);
        IsServed(await SendAsync(Proof.With("jti", "shared").Signed()));

        IsServed(await SendAsync(
            new ApiDpopProof(other, Url, token, DateTimeOffset.UtcNow).With("jti", "shared").Signed(), $"DPoP {token}"));
    }

    [Test]
    public async Task A_proof_that_was_refused_is_not_used_up()
    {
        var proof = Proof.With("jti", "kept");
        IsRefused(await SendAsync(proof.With("htm", "POST").Signed()), "invalid_dpop_proof", Htm);

        IsServed(await SendAsync(proof.With("htm", "GET").Signed()));
    }

    [Test, Rfc(9449, "7.2")]
    public async Task The_API_refuses_a_bound_token_with_the_Bearer_scheme([Values] bool withProof)
    {
        var answer = await SendAsync(withProof ? Proof.Signed() : null, $"Bearer {Token}");

        Is401(answer, "Bearer error=\"invalid_token\", "
            + $"error_description=\"The token is bound to a key, so it needs the scheme DPoP and a proof.\", {Metadata}, "
            + $"DPoP algs=\"ES256 ES384 PS256\", {Metadata}");
    }

    [Test]
    public async Task The_API_refuses_an_unbound_token_with_the_DPoP_scheme() => IsRefused(
        await SendAsync(new ApiDpopProof(Key, Url, UnboundToken, DateTimeOffset.UtcNow).Signed(), $"DPoP {UnboundToken}"),
        "invalid_token", "The token is not bound to a key, so it is not for the scheme DPoP.");

    [Test]
    public async Task The_API_accepts_an_unbound_token_with_the_Bearer_scheme() =>
        IsServed(await SendAsync(proof: null, $"Bearer {UnboundToken}"));

    // RFC 8705 §3.1: x5t#S256 is the certificate of the caller, which this API does not see.
    [TestCase("""{"x5t#S256":"bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2"}""")]
    [TestCase("""{"jkt":"JKT","x5t#S256":"bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2"}""")]
    [TestCase("""{"jkt":1}""")]
    [TestCase("{}")]
    [TestCase("\"JKT\"")]
    [TestCase("null")]
    [Rfc(7800, "3.1")]
    public async Task The_API_refuses_a_token_that_is_bound_in_another_way(string confirmation)
    {
        var token = BoundBy(JsonNode.Parse(confirmation.Replace("JKT", Key.Thumbprint, StringComparison.Ordinal)));
        const string flaw = "The token is bound in a way that this API cannot check.";

        var proof = new ApiDpopProof(Key, Url, token, DateTimeOffset.UtcNow).Signed();
        IsRefused(await SendAsync(proof, $"DPoP {token}"), "invalid_token", flaw);
        Is401(await SendAsync(proof: null, $"Bearer {token}"),
            $"Bearer error=\"invalid_token\", error_description=\"{flaw}\", {Metadata}, DPoP algs=\"ES256 ES384 PS256\", {Metadata}");
    }

    [Test, Rfc(6750, "2"), Rfc(9700, "4.3.2")]
    public async Task The_API_refuses_a_token_in_the_query([Values] bool withHeader)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, $"/invoices?access_token={UnboundToken}");
        if (withHeader)
            request.Headers.TryAddWithoutValidation("Authorization", $"Bearer {UnboundToken}");

        IsInvalidRequest(await api.SendAsync(request));
    }

    [Test, Rfc(6750, "2")]
    public async Task The_API_refuses_two_Authorization_headers()
    {
        await using var connection = await RawConnection.OpenAsync(api.Address);
        await connection.SendAsync(
            $"GET /invoices HTTP/1.1\nHost: api\nAuthorization: Bearer {UnboundToken}\nAuthorization: DPoP {Token}\n"
            + $"DPoP: {Proof.Signed()}\n\n");

        IsInvalidRequest(await connection.ReadAnswerAsync());
    }

    [Test]
    public async Task The_API_refuses_a_DPoP_header_without_a_token([Values("DPoP", "DPoP ")] string authorization) =>
        IsRefused(await SendAsync(Proof.Signed(), authorization), "invalid_token", "The Authorization header has no token.");

    [Test, Rfc(6750, "3.1"), Rfc(9449, "7.1")]
    public async Task The_API_names_a_missing_scope_with_the_scheme_of_the_request()
    {
        using var request = Request(HttpMethod.Post, Proof.With("htm", "POST").Signed(), $"DPoP {Token}");

        var answer = await api.SendAsync(request);

        Assert.That((answer.Status, answer.Headers["WWW-Authenticate"]),
            Is.EqualTo((403, "DPoP error=\"insufficient_scope\", scope=\"invoices:write\"")));
    }

    // The headers that the suite adds. The API has nothing to say about them.
    [Test]
    public async Task The_API_answers_a_request_with_the_headers_of_FAPI()
    {
        using var request = Request(HttpMethod.Get, Proof.Signed(), $"DPoP {Token}");
        request.Headers.Add("x-fapi-auth-date", "Tue, 11 Sep 2012 19:43:31 UTC");
        request.Headers.Add("x-fapi-customer-ip-address", "198.51.100.119");
        request.Headers.Add("x-fapi-interaction-id", "c770aef3-6784-41f7-8e0e-ff5f97bddb3a");
        using var client = new HttpClient { BaseAddress = api.Address };

        using var response = await client.SendAsync(request);

        using (Assert.EnterMultipleScope())
        {
            Assert.That((int)response.StatusCode, Is.EqualTo(200));
            Assert.That(response.Headers.Date, Is.EqualTo(DateTimeOffset.UtcNow).Within(TimeSpan.FromMinutes(5)));
            Assert.That(response.Headers.Contains("x-fapi-interaction-id"), Is.False);
        }
    }

    [Test, Rfc(7009, "2")]
    public async Task The_API_refuses_a_bound_token_that_was_revoked()
    {
        var issued = await IssueAsync();
        var revoked = BoundBy(new JsonObject { ["jkt"] = Key.Thumbprint }, issued);
        await TokenRequestBuilder.For(Client).WithPath("/revoke").With("token", issued).SendAsync(Server);
        // The server makes a new list only after 5 seconds. The API fetches it before its first request.
        Server.Clock.Advance(TimeSpan.FromSeconds(5));
        await using var later = await ExampleApi.StartAsync(
            Server.Address.OriginalString, settings: "--Dpop:PublicAddress=https://api.example.com");
        using var withRevoked = Request(
            HttpMethod.Get, new ApiDpopProof(Key, Url, revoked, DateTimeOffset.UtcNow).Signed(), $"DPoP {revoked}");
        using var withOther = Request(HttpMethod.Get, Proof.Signed(), $"DPoP {Token}");

        using (Assert.EnterMultipleScope())
        {
            Is401(await later.SendAsync(withRevoked),
                $"DPoP error=\"invalid_token\", algs=\"ES256 ES384 PS256\", {Metadata}, Bearer {Metadata}");
            IsServed(await later.SendAsync(withOther));
        }
    }

    [Test, Platform(Exclude = "Win")]
    public async Task No_token_and_no_proof_is_in_the_log()
    {
        await using var own = await ExampleApi.StartAsync(
            Server.Address.OriginalString,
            settings:
            [
                "--Dpop:PublicAddress=https://api.example.com",
                "--Logging:LogLevel:Default=Trace", "--Logging:LogLevel:Microsoft.AspNetCore=Trace",
            ]);
        var (good, bad) = (Proof.Signed(), Proof.With("htm", "POST").Signed());
        foreach (var proof in new[] { good, good, bad })
        {
            using var request = Request(HttpMethod.Get, proof, $"DPoP {Token}");
            await own.SendAsync(request);
        }

        var log = await own.StopAsync();

        using (Assert.EnterMultipleScope())
        {
            Assert.That(log, Does.Contain("The DPoP proof was used before.").And.Contain(Htm));
            foreach (var part in new[] { Token, good, bad }.SelectMany(jwt => jwt.Split('.')[1..]))
                Assert.That(log, Does.Not.Contain(part));
        }
    }

    internal static IEnumerable<string> GoodNames() => Good.Keys;

    internal static IEnumerable<string> BadNames() => Bad.Keys;

    private static double Seconds(int fromNow) => DateTimeOffset.UtcNow.AddSeconds(fromNow).ToUnixTimeSeconds();

    private static byte[] Damaged(byte[] signature)
    {
        signature[^1] ^= 1;
        return signature;
    }

    // 64 bytes take 86 characters, the last of which has four bits that mean nothing.
    private static string Respelt(string proof) => proof[..^1] + (proof[^1] switch { 'A' => 'B', 'Q' => 'R', 'g' => 'h', _ => 'x' });

    // Base64url cannot have every length, so header and payload are both filled.
    private static string OfLength(ApiDpopProof proof, int length)
    {
        for (var inHeader = 0; inHeader < 3; inHeader++)
        {
            proof.WithHeader("x", new string('x', inHeader)).With("x", "");
            var missing = (length - proof.Signed().Length) * 3 / 4;
            for (var filler = missing - 3; filler <= missing + 3; filler++)
            {
                if (proof.With("x", new string('x', filler)).Signed() is { } signed && signed.Length == length)
                    return signed;
            }
        }

        throw new InvalidOperationException($"There is no proof of {length} characters.");
    }

    private static HttpRequestMessage Request(HttpMethod method, string? proof, string authorization, string proofHeader = "DPoP")
    {
        var request = new HttpRequestMessage(method, "/invoices");
        request.Headers.TryAddWithoutValidation("Authorization", authorization);
        if (proof is not null)
            request.Headers.TryAddWithoutValidation(proofHeader, proof);
        return request;
    }

    private async Task<Answer> SendAsync(string? proof, string? authorization = null, string proofHeader = "DPoP")
    {
        using var request = Request(HttpMethod.Get, proof, authorization ?? $"DPoP {Token}", proofHeader);
        return await api.SendAsync(request);
    }

    private static void IsServed(Answer answer) => Assert.That(
        (answer.Status, answer.Body), Is.EqualTo((200, "The invoices, for billing")),
        answer.Headers.GetValueOrDefault("WWW-Authenticate", ""));

    private static void IsRefused(Answer answer, string error, string description) => Is401(
        answer,
        $"DPoP error=\"{error}\", error_description=\"{description}\", algs=\"ES256 ES384 PS256\", {Metadata}, Bearer {Metadata}");

    private static void Is401(Answer answer, string challenge) => IsChallenged(answer, 401, challenge);

    private static void IsInvalidRequest(Answer answer) => IsChallenged(
        answer, 400, "Bearer error=\"invalid_request\", "
            + $"error_description=\"The token belongs into one Authorization header, and nowhere else.\", {Metadata}, "
            + $"DPoP algs=\"ES256 ES384 PS256\", {Metadata}");
}
