using System.Security.Claims;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using Microsoft.IdentityModel.Tokens;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Rfc6750;

/// <summary>What a verifier out of the box makes of our tokens, and of what resembles them.</summary>
[TestFixture, Rfc(6750, "3"), Rfc(9068, "4")]
public sealed class ResourceServer : ServerFixture
{
    private readonly ECDsa foreignKey = ECDsa.Create(ECCurve.NamedCurves.nistP256);
    private ProtectedApi api = null!;
    private string token = null!;

    internal delegate string Spoiling(ResourceServer test, Forgery token);

    [OneTimeSetUp]
    public async Task StartApi()
    {
        api = await ProtectedApi.StartAsync(Server);
        token = await IssueAsync(Server);
        RealKey = await Forgery.KeyOfAsync(Server);
    }

    [OneTimeTearDown]
    public async Task StopApi()
    {
        await (api?.DisposeAsync() ?? ValueTask.CompletedTask);
        foreignKey.Dispose();
    }

    [Test, Rfc(6750, "2.1")]
    public async Task A_token_is_accepted([Values("Bearer", "bearer", "BEARER")] string scheme)
    {
        var answer = await api.GetAsync($"{scheme} {token}");

        using (Assert.EnterMultipleScope())
        {
            Assert.That(answer.Status, Is.EqualTo(200), $"{api.Failure}");
            // Where this verifier puts sub unless it is told otherwise.
            Assert.That(answer.Json.GetProperty(ClaimTypes.NameIdentifier).GetString(), Is.EqualTo("billing"));
            Assert.That(answer.Json.GetProperty("client_id").GetString(), Is.EqualTo("billing"));
            Assert.That(answer.Json.GetProperty("scope").GetString(), Is.EqualTo("invoices:read"));
        }
    }

    [Test, Rfc(6750, "3b")]
    public async Task Without_a_token_no_error_code_is_given(
        [Values(null, "Basic YmlsbGluZzpzZWNyZXQ=", "Bearer")] string? authorization) =>
        IsChallenge(await api.GetAsync(authorization), "Bearer");

    [Test, Rfc(6750, "2.2/2.3")]
    public async Task A_token_in_the_query_is_none() =>
        IsChallenge(await api.GetAsync(authorization: null, $"?access_token={token}"), "Bearer");

    // What makes the refusals below mean something.
    [Test]
    public async Task A_forgery_with_nothing_wrong_is_accepted() =>
        Assert.That((await api.GetAsync($"Bearer {new Forgery(token).SignedBy(RealKey)}")).Status, Is.EqualTo(200), $"{api.Failure}");

    [TestCaseSource(nameof(Spoiled))]
    [Rfc(6750, "3a"), Rfc(6750, "3.1"), Rfc(9068, "4f")]
    public async Task A_spoiled_token_is_refused(Type failure, object spoil)
    {
        var forged = ((Spoiling)spoil)(this, new Forgery(token));

        var answer = await api.GetAsync($"Bearer {forged}");

        IsInvalidToken(answer, failure);
    }

    [Test, Rfc(9068, "4c"), Rfc(6750, "5.2a")]
    public async Task A_token_is_refused_by_another_resource()
    {
        await using var other = await ProtectedApi.StartAsync(Server, audience: "https://ledger.example.com");

        var answer = await other.GetAsync($"Bearer {token}");

        IsInvalidToken(answer, typeof(SecurityTokenInvalidAudienceException), other);
    }

    [Test, Rfc(9068, "4e")]
    public async Task A_token_is_refused_once_it_has_expired()
    {
        // The verifier's clock is the real one, so it is the server that lives an hour ago.
        await Database.ExecuteAsync("update token_service.client_secret set not_before = now() - interval '1 day'");
        var clock = new FakeClock();
        clock.Advance(TimeSpan.FromHours(-1));
        await using var server = await TestServer.StartAsync(Database.ConnectionString, clock);
        var old = await IssueAsync(server);
        clock.Advance(TimeSpan.FromHours(1));
        var fresh = await IssueAsync(server);
        await using var verifier = await ProtectedApi.StartAsync(server);

        IsInvalidToken(await verifier.GetAsync($"Bearer {old}"), typeof(SecurityTokenExpiredException), verifier);
        Assert.That((await verifier.GetAsync($"Bearer {fresh}")).Status, Is.EqualTo(200), $"{verifier.Failure}");
    }

    internal static IEnumerable<TestCaseData> Spoiled()
    {
        // RFC 9068 §4, RFC 8725 §3.11: the type.
        yield return Case<SecurityTokenInvalidTypeException>("the type of any JWT", "RFC9068-4a",
            (test, jwt) => jwt.WithHeader("typ", "JWT").SignedBy(test.RealKey));
        yield return Case<SecurityTokenInvalidTypeException>("the type of an answer to introspection", "RFC9068-4a",
            (test, jwt) => jwt.WithHeader("typ", "token-introspection+jwt").SignedBy(test.RealKey));

        // RFC 9068 §4: who made it, for whom, until when.
        yield return Case<SecurityTokenInvalidIssuerException>("another issuer", "RFC9068-4b",
            (test, jwt) => jwt.WithClaim("iss", "https://evil.example.com").SignedBy(test.RealKey));
        yield return Case<SecurityTokenInvalidIssuerException>("an issuer with a slash more", "RFC9068-4b",
            (test, jwt) => jwt.WithClaim("iss", TestServer.Issuer + "/").SignedBy(test.RealKey));
        yield return Case<SecurityTokenInvalidAudienceException>("another audience", "RFC9068-4c",
            (test, jwt) => jwt.WithClaim("aud", "https://ledger.example.com").SignedBy(test.RealKey));
        yield return Case<SecurityTokenInvalidAudienceException>("no audience", "RFC9068-4c",
            (test, jwt) => jwt.WithoutClaim("aud").SignedBy(test.RealKey));
        yield return Case<SecurityTokenExpiredException>("an end long past", "RFC9068-4e",
            (test, jwt) => jwt.WithClaim("exp", 1_000_000_000).SignedBy(test.RealKey));
        yield return Case<SecurityTokenNoExpirationException>("no end", "RFC9068-4e",
            (test, jwt) => jwt.WithoutClaim("exp").SignedBy(test.RealKey));

        // RFC 8725 §3.2 and §3.3: the signature.
        yield return Case<SecurityTokenInvalidSignatureException>("a bit of its signature turned over", "RFC8725-3.3",
            (_, jwt) => jwt.WithDamagedSignature());
        yield return Case<SecurityTokenInvalidSignatureException>("a claim changed under its signature", "RFC8725-3.3",
            (_, jwt) => jwt.WithClaim("scope", "admin").WithOldSignature());
        yield return Case<SecurityTokenInvalidSignatureException>("no signature", "RFC8725-3.3",
            (_, jwt) => jwt.Unsigned());
        yield return Case<SecurityTokenInvalidSignatureException>("alg none", "RFC9068-4d",
            (_, jwt) => jwt.WithHeader("alg", "none").Unsigned());
        yield return Case<SecurityTokenInvalidSignatureException>("a foreign key under our kid", "RFC8725-3.8",
            (test, jwt) => jwt.SignedBy(test.foreignKey));
        yield return Case<SecurityTokenInvalidSignatureException>("a signature in DER", "RFC7518-3.4",
            (test, jwt) => jwt.SignedBy(test.RealKey, DSASignatureFormat.Rfc3279DerSequence));

        // RFC 8725 §3.1: the public key taken for a secret, in every writing an attacker may try.
        yield return Case<SecurityTokenInvalidSignatureException>("HS256, by the public key in PEM", "RFC8725-3.1",
            (test, jwt) => jwt.WithHeader("alg", "HS256").SignedWith(Encoding.ASCII.GetBytes(test.PublicPem)));
        yield return Case<SecurityTokenInvalidSignatureException>("HS256, by the public key in DER", "RFC8725-3.1",
            (test, jwt) => jwt.WithHeader("alg", "HS256").SignedWith(test.RealKey.ExportSubjectPublicKeyInfo()));
        yield return Case<SecurityTokenInvalidSignatureException>("HS256, by the point of the public key", "RFC8725-3.1",
            (test, jwt) => jwt.WithHeader("alg", "HS256").SignedWith(Point(test.RealKey)));

        // RFC 8725 §3.10: a kid is for looking up, and no header brings its own key.
        yield return Case<SecurityTokenSignatureKeyNotFoundException>("a kid nobody published", "RFC8725-3.10",
            (test, jwt) => jwt.WithHeader("kid", "unknown").SignedBy(test.foreignKey));
        yield return Case<SecurityTokenInvalidSignatureException>("its own key in jwk", "RFC8725-3.10",
            (test, jwt) => jwt.WithHeader("jwk", Jwk(test.foreignKey)).SignedBy(test.foreignKey));
        yield return Case<SecurityTokenInvalidSignatureException>("the address of its own key in jku", "RFC8725-3.10",
            (test, jwt) => jwt.WithHeader("jku", "http://127.0.0.1:1/jwks.json").SignedBy(test.foreignKey));
    }

    private ECDsa RealKey { get; set; } = null!;

    private string PublicPem => RealKey.ExportSubjectPublicKeyInfoPem();

    private async Task<string> IssueAsync(TestServer server) =>
        (await TokenRequestBuilder.For(Client).SendAsync(server)).Token.EncodedToken;

    private void IsInvalidToken(Answer answer, Type failure, ProtectedApi? verifier = null)
    {
        using (Assert.EnterMultipleScope())
        {
            Assert.That((verifier ?? api).Failure, Is.TypeOf(failure));
            IsChallenge(answer, "Bearer error=\"invalid_token\"");
        }
    }

    // What follows the error code is this verifier's own description.
    private static void IsChallenge(Answer answer, string challenge)
    {
        Assert.That(answer.Status, Is.EqualTo(401));
        Assert.That(answer.Headers["WWW-Authenticate"].Split(", error_description=")[0], Is.EqualTo(challenge));
    }

    private static TestCaseData Case<TFailure>(string spoilt, string clause, Spoiling spoil)
        where TFailure : Exception =>
        new TestCaseData(typeof(TFailure), spoil).SetArgDisplayNames(spoilt).SetCategory(clause);

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
}
