using System.Globalization;
using System.Text;
using TokenService.Authentication;
using TokenService.Keys;
using TokenService.Protocol;
using TokenService.Secrets;
using TokenService.Tests.Harness;
using TokenService.Tokens;

namespace TokenService.Tests.Events;

/// <summary>Logs are read by people, and sent to systems, that must not know a secret.</summary>
[TestFixture, Rfc(6749, "10.3b")]
public sealed class LogHygiene : ServerFixture
{
    private const string Imported = "a secret of another system, 3f9c1d";
    private const string Wrong = "a wrong secret of that system, 77ab20";

    // The most verbose level, also for the framework and the database driver.
    private protected override string[] Settings =>
        ["Logging:LogLevel:Default=Trace", "Logging:LogLevel:Microsoft.AspNetCore=Trace", "Logging:LogLevel:Npgsql=Trace"];

    [Test]
    public async Task Secrets_tokens_and_digests_are_not_logged()
    {
        await Database.AddSecretAsync(Client.Id, Imported);
        await Server.HasReceivedNotificationsAsync();
        List<string> confidential = [Client.Secret, Client.Secret[18..], Imported, Wrong, "$argon2id$"];
        confidential.AddRange(confidential.Select(Uri.EscapeDataString).ToList());

        var requestCount = 0;
        foreach (var secret in new[] { Client.Secret, Imported, Wrong, Client.Secret[..^1], GeneratedSecret.Create().Value })
        {
            var client = Client with { Secret = secret };
            confidential.AddRange([secret, Basic(client.Id, secret)]);
            TokenRequestBuilder[] requests =
            [
                TokenRequestBuilder.For(client), TokenRequestBuilder.ByPost(client),
                TokenRequestBuilder.For(client).With("client_secret", secret), TokenRequestBuilder.For(client).WithScope("unheld"),
                TokenRequestBuilder.For(new TestClient(secret, client.Id)), TokenRequestBuilder.ByPost(new TestClient(secret, client.Id)),
                TokenRequestBuilder.For(client with { Id = "nobody" }), TokenRequestBuilder.ByPost(client).With("client_secret", secret),
                TokenRequestBuilder.ByPost(client).With("client_assertion", secret),
                TokenRequestBuilder.Anonymous().WithAuthorization($"Bearer {secret}"),
                TokenRequestBuilder.Anonymous().WithAuthorization($"Basic {secret}"),
                TokenRequestBuilder.ByPost(client).WithBody($"client_secret={secret}%"),
                TokenRequestBuilder.ByPost(client).WithContentType("text/plain"),
                TokenRequestBuilder.ByPost(client).WithPath($"/token?client_secret={Uri.EscapeDataString(secret)}"),
            ];
            requestCount += requests.Length;
            foreach (var request in requests)
            {
                var answer = await request.SendAsync(Server);
                if (answer.Status == 200)
                    confidential.Add(answer.Token.EncodedToken);
            }
        }

        Assert.That(confidential, Has.Some.StartsWith("eyJ"), "tokens were issued");
        Assert.That(Server.Log.Lines, Has.Some.StartsWith("Trace Microsoft.AspNetCore").Or.Some.StartsWith("Debug Microsoft.AspNetCore"));
        Assert.That(Server.Log.Lines, Has.Some.Contains("Npgsql.Command"));
        await Soon.IsAsync("all events are written", () => Server.Events.Lines.Count >= requestCount);
        foreach (var value in confidential)
        {
            Assert.That(
                Server.Log.Lines.Concat(Server.Events.Lines)
                    .Where(line => line.Contains(value, StringComparison.OrdinalIgnoreCase)),
                Is.Empty);
        }
    }

    // The header of a JWT is the same for many, so only payload and signature are looked for.
    [Test, Rfc(7523, "3.2")]
    public async Task Assertions_proofs_and_what_is_in_them_are_not_logged()
    {
        var (key, stranger) = (await Database.CreateKeyClientAsync("signer"), TestKey.Create());
        var good = Assertion(key).Signed();
        string[] assertions =
        [
            good, Assertion(stranger).Signed(), Assertion(key).WithClaim("aud", "https://elsewhere.example.com").Signed(),
            Assertion(key).WithClaim("exp", 1).Signed(), Assertion(key, "an-unknown-kid-5f2c").Signed(), good + "x",
        ];
        string[] proofs = [SignedJwt.Proof(Server, key).Signed(), SignedJwt.Proof(Server, key).SignedBy(stranger)];
        List<TokenRequestBuilder> requests = [];
        foreach (var jwt in assertions)
        {
            requests.AddRange(
            [
                TokenRequestBuilder.ByAssertion(jwt), TokenRequestBuilder.ByAssertion(jwt),
                TokenRequestBuilder.ByAssertion(jwt).With("client_id", jwt), TokenRequestBuilder.ByAssertion(jwt).WithScope(jwt),
                TokenRequestBuilder.ByPost(new TestClient("signer", jwt)), TokenRequestBuilder.For(new TestClient("signer", jwt)),
                TokenRequestBuilder.Anonymous().With("client_assertion_type", jwt).With("client_assertion", jwt),
                TokenRequestBuilder.Anonymous().WithAuthorization($"Bearer {jwt}"),
                TokenRequestBuilder.Anonymous().WithPath($"/token?client_assertion={jwt}"),
            ]);
        }

        foreach (var proof in proofs)
        {
            requests.AddRange(
            [
                TokenRequestBuilder.For(Client).WithHeader("DPoP", proof), TokenRequestBuilder.For(Client).WithHeader("DPoP", proof),
                TokenRequestBuilder.ByAssertion(proof), TokenRequestBuilder.For(Client).WithHeader("DPoP", $"{proof}, {proof}"),
            ]);
        }

        foreach (var request in requests)
            await request.SendAsync(Server);

        await Soon.IsAsync("all events are written", () => Server.Events.Lines.Count >= requests.Count);
        var confidential = assertions.Concat(proofs).SelectMany(jwt => jwt.Split('.')[1..]).Append("an-unknown-kid-5f2c")
            .Append(key.Jwk["x"]!.GetValue<string>());
        var lines = Server.Log.Lines.Concat(Server.Events.Lines).ToList();
        foreach (var value in confidential.Where(part => part.Length > 10))
            Assert.That(lines.Where(line => line.Contains(value, StringComparison.Ordinal)), Is.Empty);

        SignedJwt Assertion(TestKey by, string kid = "k1") => SignedJwt.Assertion(Server, "signer", by, kid);
    }

    private static string Basic(string id, string secret) =>
        TokenRequestBuilder.Base64($"{id}:{Uri.EscapeDataString(secret).Replace("%20", "+", StringComparison.Ordinal)}");

    private static IEnumerable<object> Records() =>
    [
        GeneratedSecret.TryParse(GeneratedSecret.Create().Value, out var generated) ? generated : throw new InvalidOperationException(),
        new ClientCredentials.Basic("billing", PresentedSecret.Parse(Wrong)),
        new ClientCredentials.Post("billing", PresentedSecret.Parse(Wrong)),
        new BasicCredentials("billing", Wrong),
        new SealingKey("test", Encoding.ASCII.GetBytes(Wrong)),
        new AccessToken(Encoding.ASCII.GetBytes(Wrong), "the jti", "the kid", TimeSpan.FromMinutes(10)),
    ];

    [TestCaseSource(nameof(Records))]
    public void A_record_that_holds_a_secret_does_not_print_it(object record)
    {
        var printed = string.Create(CultureInfo.InvariantCulture, $"{record}");

        Assert.That(printed, Is.Not.Empty.And.Not.Contain(Wrong));
        if (record is GeneratedSecret secret)
            Assert.That(printed, Does.Not.Contain(secret.Value[18..]));
    }
}
