using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Fapi;

/// <summary>
/// The same with the resource that the suite is told of: scripts/examples/aspnetcore-api over TLS, which runs on real time.
/// </summary>
public abstract class FapiApiFixture : FapiFixture
{
    private const string InteractionId = "c770aef3-6784-41f7-8e0e-ff5f97bddb3a";

    private protected ExampleApi Api { get; private set; } = null!;

    private protected Uri ResourceUrl => new(Api.Address, "/invoices");

    [OneTimeSetUp]
    public async Task StartApi() => Api = await ExampleApi.StartAsync(Issuer, Certificate);

    [OneTimeTearDown]
    public async Task StopApi() => await (Api?.DisposeAsync() ?? ValueTask.CompletedTask);

    /// <summary>A proof for a request of the resource with this token.</summary>
    private protected SignedJwt ApiProof(TestKey key, string token) =>
        SignedJwt.Proof(DateTimeOffset.UtcNow, ResourceUrl.OriginalString, key, "GET").WithClaim("ath", HashOf(token));

    /// <summary>Sends the suite's request: GET, with the headers of FAPI.</summary>
    /// <param name="authorization">The header; null: there is none.</param>
    /// <param name="proof">The header DPoP; null: there is none.</param>
    /// <param name="query">Behind the address, with its question mark.</param>
    private protected async Task<Answer> CallAsync(string? authorization, string? proof, string query = "", string proofHeader = "DPoP")
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, new Uri(ResourceUrl, query));
        request.Headers.Add("x-fapi-auth-date", "Tue, 11 Sep 2012 19:43:31 GMT");
        request.Headers.Add("x-fapi-customer-ip-address", "198.51.100.119");
        request.Headers.Add("x-fapi-interaction-id", InteractionId);
        if (authorization is not null)
            request.Headers.TryAddWithoutValidation("Authorization", authorization);
        if (proof is not null)
            request.Headers.TryAddWithoutValidation(proofHeader, proof);
        return await Api.SendAsync(request);
    }

    /// <summary>The suite passes on 200 or 201, if the answer has the interaction id that was sent, or none.</summary>
    private protected static void IsServed(Answer answer, FapiClient client)
    {
        using (Assert.EnterMultipleScope())
        {
            Assert.That((answer.Status, answer.Body), Is.EqualTo((200, $"The invoices, for {client.Id}")));
            Assert.That(answer.Headers.GetValueOrDefault("x-fapi-interaction-id", InteractionId), Is.EqualTo(InteractionId));
        }
    }

    /// <summary>The suite passes on 400 and 401; the API answers 401 with this error in its challenge.</summary>
    private protected static void IsRefused(Answer answer, string error) => Assert.That(
        (answer.Status, answer.Body, answer.Headers["WWW-Authenticate"].Split(',')[0]), Is.EqualTo((401, "", $"DPoP error=\"{error}\"")));

    private protected static string HashOf(string token) => Base64Url.EncodeToString(SHA256.HashData(Encoding.ASCII.GetBytes(token)));
}
