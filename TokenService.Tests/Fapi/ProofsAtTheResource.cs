using System.Buffers.Text;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Fapi;

/// <summary>
/// The proofs that the suite sends to the resource. The token endpoint gets none of them. Examples/AspNetCoreApiDpop.cs has
/// more of the kind, without TLS and without the real token endpoint.
/// </summary>
[TestFixture, FapiModule("dpop-negative-tests"), Rfc(9449, "7.1b"), Rfc(9449, "4.3")]
public sealed class ProofsAtTheResource : FapiApiFixture
{
    private static readonly RSA Pair = RSA.Create(2048);

    private static readonly Dictionary<string, Func<SignedJwt, string>> Refused = new()
    {
        ["a value that is no JWT"] = _ => "not-a-jwt",
        ["no typ"] = proof => proof.WithoutHeader("typ").Signed(),
        ["no alg"] = proof => proof.WithoutHeader("alg").Signed(),
        ["no jwk"] = proof => proof.WithoutHeader("jwk").Signed(),
        ["no jti"] = proof => proof.WithoutClaim("jti").Signed(),
        ["no htm"] = proof => proof.WithoutClaim("htm").Signed(),
        ["no htu"] = proof => proof.WithoutClaim("htu").Signed(),
        ["no iat"] = proof => proof.WithoutClaim("iat").Signed(),
        ["no ath"] = proof => proof.WithoutClaim("ath").Signed(),
        ["a wrong typ"] = proof => proof.WithHeader("typ", "JWT").Signed(),
        ["alg RS256"] = proof => proof.WithHeader("alg", "RS256")
            .WithSignature(input => Pair.SignData(Encoding.ASCII.GetBytes(input), HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1)),
        ["alg none"] = proof => proof.WithHeader("alg", "none").WithSignature(_ => []),
        ["a broken signature"] = proof => proof.SignedBy(TestKey.Create("PS256")),
        ["a private key"] = proof => proof.WithHeader("jwk", PrivateJwk()).Signed(),
        ["a wrong htm"] = proof => proof.WithClaim("htm", "PUT").Signed(),
        ["another htu"] = proof => proof.WithClaim("htu", "https://other.example.com/invoices").Signed(),
        ["iat an hour ago"] = proof => proof.WithClaim("iat", Now() - 3600).Signed(),
        ["iat in an hour"] = proof => proof.WithClaim("iat", Now() + 3600).Signed(),
        ["a wrong ath"] = proof => proof.WithClaim("ath", HashOf("another token")).Signed(),
    };

    private static readonly Dictionary<string, Func<SignedJwt, string, string>> Accepted = new()
    {
        ["htu with a query"] = (proof, url) => proof.WithClaim("htu", url + "?a=b").Signed(),
        ["htu with a fragment"] = (proof, url) => proof.WithClaim("htu", url + "#a").Signed(),
        ["unknown members of the header"] = (proof, _) => proof.WithHeader("x", "y").Signed(),
        ["unknown claims"] = (proof, _) => proof.WithClaim("x", new JsonObject { ["y"] = 1 }).Signed(),
        ["nbf and exp"] = (proof, _) => proof.WithClaim("nbf", Now()).WithClaim("exp", Now() + 60).Signed(),
        // A refusal of the next one would be a warning of the suite, and no failure.
        ["htu with an upper-case scheme and host"] = (proof, url) => proof.WithClaim("htu", "HTTPS" + url["https".Length..]).Signed(),
    };

    private FapiClient client = null!;
    private string token = null!;

    // The key is PS256, as the suite's is where the metadata lists it.
    [OneTimeSetUp]
    public async Task GetToken()
    {
        client = First with { DpopKey = TestKey.OfRsa("PS256", RSASignaturePadding.Pss, Pair) };
        token = await TokenAsync(client);
    }

    [OneTimeTearDown]
    public void DisposeKey() => Pair.Dispose();

    [TestCaseSource(nameof(RefusedNames))]
    public async Task The_resource_refuses_a_proof_with(string flaw) =>
        IsRefused(await CallAsync($"DPoP {token}", Refused[flaw](Proof())), "invalid_dpop_proof");

    [TestCaseSource(nameof(AcceptedNames))]
    public async Task The_resource_accepts_a_proof_with(string what) =>
        IsServed(await CallAsync($"DPoP {token}", Accepted[what](Proof(), ResourceUrl.OriginalString)), client);

    [Test]
    public async Task The_resource_refuses_a_request_without_a_proof() =>
        IsRefused(await CallAsync($"DPoP {token}", proof: null), "invalid_dpop_proof");

    [Test]
    public async Task The_resource_refuses_a_proof_by_another_key() =>
        IsRefused(await CallAsync($"DPoP {token}", ApiProof(TestKey.Create("PS256"), token).Signed()), "invalid_token");

    [Test]
    public async Task The_resource_refuses_a_bound_token_with_the_Bearer_scheme([Values] bool withProof)
    {
        var answer = await CallAsync($"Bearer {token}", withProof ? Proof().Signed() : null);

        Assert.That((answer.Status, answer.Body), Is.EqualTo((401, "")));
    }

    // HttpClient would write the two headers as one.
    [Test, Rfc(9449, "4.1")]
    public async Task The_resource_refuses_two_proofs()
    {
        Assert.That(
            await StatusLineAsync($"DPoP: {Proof().Signed()}\nDPoP: {Proof().Signed()}\n"), Is.EqualTo("HTTP/1.1 401 Unauthorized"));
        Assert.That(await StatusLineAsync($"DPoP: {Proof().Signed()}\n"), Is.EqualTo("HTTP/1.1 200 OK"));
    }

    [Test]
    public async Task The_resource_takes_the_name_of_the_header_in_any_case() =>
        IsServed(await CallAsync($"DPoP {token}", Proof().Signed(), proofHeader: "DPOP"), client);

    // Another deliberate strictness: the suite warns of it and goes on.
    [Test, Rfc(9449, "11.1")]
    public async Task The_resource_refuses_the_second_use_of_a_proof()
    {
        var proof = Proof().Signed();

        IsServed(await CallAsync($"DPoP {token}", proof), client);
        IsRefused(await CallAsync($"DPoP {token}", proof), "invalid_dpop_proof");
    }

    internal static IEnumerable<string> RefusedNames() => Refused.Keys;

    internal static IEnumerable<string> AcceptedNames() => Accepted.Keys;

    private static JsonObject PrivateJwk()
    {
        var parameters = Pair.ExportParameters(includePrivateParameters: true);
        return new JsonObject
        {
            ["kty"] = "RSA",
            ["n"] = Base64Url.EncodeToString(parameters.Modulus),
            ["e"] = Base64Url.EncodeToString(parameters.Exponent),
            ["d"] = Base64Url.EncodeToString(parameters.D),
        };
    }

    private static long Now() => DateTimeOffset.UtcNow.ToUnixTimeSeconds();

    private SignedJwt Proof() => ApiProof(client.DpopKey, token);

    private async Task<string> StatusLineAsync(string headers)
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(30));
        using var connection = new TcpClient(ResourceUrl.Host, ResourceUrl.Port);
        await using var tls = new SslStream(connection.GetStream(), leaveInnerStreamOpen: false, (_, shown, _, _) => Certificate.Is(shown));
        await tls.AuthenticateAsClientAsync("localhost");
        var head = $"GET {ResourceUrl.AbsolutePath} HTTP/1.1\nHost: {ResourceUrl.Authority}\nAuthorization: DPoP {token}\n{headers}\n";
        await tls.WriteAsync(Encoding.ASCII.GetBytes(head.ReplaceLineEndings("\r\n")), limit.Token);
        using var reader = new StreamReader(tls);
        return (await reader.ReadLineAsync(limit.Token))!;
    }
}
