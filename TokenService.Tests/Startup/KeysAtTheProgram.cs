using System.Text.Json;
using TokenService.Jose;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Startup;

/// <summary>
/// The program as it is published, with nothing replaced, verifies each kind of key. The native build has other code for
/// the database, JSON and libsodium than the one that the other tests run.
/// </summary>
[TestFixture]
public sealed class KeysAtTheProgram
{
    private static readonly string[] Algorithms = ["ES256", "ES384", "PS256", "RS256", "Ed25519"];

    [Test]
    public async Task The_program_accepts_assertions_and_proofs_of_each_algorithm_once()
    {
        await using var database = await Database.CreateAsync();
        var keys = new Dictionary<string, TestKey>(StringComparer.Ordinal);
        foreach (var algorithm in Algorithms.Where(name => name != "Ed25519" || Libsodium.IsAvailable))
            keys[algorithm] = await database.CreateKeyClientAsync($"client-{algorithm}", algorithm);
        var log = Path.GetTempFileName();
        try
        {
            File.Delete(log);
            await using var server = await ServerProcess.StartAsync(database, """exec "$@" > "$log" 2>&1""", log, "Dpop:Nonce=Required");

            foreach (var (algorithm, key) in keys)
            {
                var proofKey = algorithm == "RS256" ? TestKey.Create() : key;
                var jwt = SignedJwt.Assertion(DateTimeOffset.UtcNow, TestServer.Issuer, $"client-{algorithm}", key).Signed();
                var challenge = await SendAsync(jwt, Proof(proofKey));
                Assert.That(challenge.Json.GetProperty("error").GetString(), Is.EqualTo("use_dpop_nonce"), challenge.Body);

                var nonce = challenge.Headers["DPoP-Nonce"];
                var answer = await SendAsync(jwt, Proof(proofKey).WithClaim("nonce", nonce));
                Assert.That(answer.Status, Is.EqualTo(200), answer.Body);
                Assert.That(
                    answer.Token.GetPayloadValue<JsonElement>("cnf").GetProperty("jkt").GetString(), Is.EqualTo(proofKey.Thumbprint));
                (await SendAsync(jwt, Proof(proofKey).WithClaim("nonce", nonce))).IsInvalidClient();
            }

            Task<Answer> SendAsync(string jwt, SignedJwt proof) =>
                TokenRequestBuilder.ByAssertion(jwt).WithHeader("DPoP", proof.Signed()).SendAsync(server.Client);

            static SignedJwt Proof(TestKey key) => SignedJwt.Proof(DateTimeOffset.UtcNow, $"{TestServer.Issuer}/token", key);
        }
        finally
        {
            File.Delete(log);
        }
    }
}
