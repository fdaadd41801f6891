using System.Text.Json;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Fapi;

/// <summary>
/// The module of the OpenID Foundation's conformance suite that a fixture repeats, in its plan
/// fapi2-security-profile-final-test-plan for the client credentials grant with private_key_jwt and dpop. The suite itself
/// is another program: see scripts/fapi.
/// </summary>
[AttributeUsage(AttributeTargets.Class)]
internal sealed class FapiModuleAttribute(string name) : CategoryAttribute($"FAPI2-{name}");

/// <summary>A client as the suite has two of them: it authenticates with one key, and binds its tokens to another.</summary>
internal sealed record FapiClient(string Id, string KeyId, TestKey Key, TestKey DpopKey);

/// <summary>
/// A server with <c>Profile=Fapi2</c> that listens at its https issuer, and the suite's two clients. Their requests are
/// those of the suite: an assertion with iss, sub, aud, jti, iat, nbf and exp, without typ; a DPoP proof by another key; a
/// new one of each for every try.
/// </summary>
public abstract class FapiFixture
{
    private protected const string Scope = "invoices:read";

    private protected const string Resource = "https://api.example.com";

    /// <summary>The settings of every server here.</summary>
    private protected static readonly string[] Standard = ["Profile=Fapi2"];

    private protected Database Database { get; private set; } = null!;

    private protected TestCertificate Certificate { get; private set; } = null!;

    private protected TestServer Server { get; private set; } = null!;

    /// <summary>Believes the server's certificate and follows no redirect.</summary>
    private protected HttpClient Http { get; private set; } = null!;

    private protected FapiClient First { get; private set; } = null!;

    private protected FapiClient Second { get; private set; } = null!;

    private protected string Issuer => Server.Address.OriginalString;

    private protected virtual string[] Settings => Standard;

    /// <summary>RSA or ECDSA.</summary>
    private protected virtual string CertificateKind => "ECDSA";

    [OneTimeSetUp]
    public async Task StartServer()
    {
        Database = await Database.CreateAsync();
        First = await CreateClientAsync("c1");
        Second = await CreateClientAsync("c2");
        Certificate = TestCertificate.Create(CertificateKind);
        Server = await TestServer.StartAtItsIssuerAsync(Database, Certificate, Settings);
        Http = new HttpClient(Certificate.NewHandler()) { BaseAddress = Server.Address };
    }

    [OneTimeTearDown]
    public async Task StopServer()
    {
        Http?.Dispose();
        await (Server?.DisposeAsync() ?? ValueTask.CompletedTask);
        Certificate?.Dispose();
        await (Database?.DisposeAsync() ?? ValueTask.CompletedTask);
    }

    private protected async Task<FapiClient> CreateClientAsync(string id, string algorithm = "PS256", string resource = Resource)
    {
        var client = new FapiClient(id, $"{id}-key", TestKey.Create(algorithm), TestKey.Create("PS256"));
        var scope = resource == Resource ? Scope : $"{id}:read";
        await Database.CreateClientAsync(id, scope, scope, resource, "private_key_jwt");
        await Database.AddKeyAsync(id, client.Key, client.KeyId);
        return client;
    }

    private protected SignedJwt Assertion(FapiClient client) =>
        SignedJwt.Assertion(Server.Clock.GetUtcNow(), Issuer, client.Id, client.Key, client.KeyId);

    private protected SignedJwt Proof(FapiClient client) =>
        SignedJwt.Proof(Server.Clock.GetUtcNow(), $"{Issuer}/token", client.DpopKey);

    /// <summary>A token request with this assertion and no proof.</summary>
    private protected static TokenRequestBuilder Unbound(SignedJwt assertion) =>
        TokenRequestBuilder.ByAssertion(assertion.Signed()).WithScope(Scope);

    /// <summary>A token request with this assertion and a proof of the client's.</summary>
    private protected TokenRequestBuilder Request(FapiClient client, SignedJwt assertion) =>
        Unbound(assertion).WithHeader("DPoP", Proof(client).Signed());

    private protected TokenRequestBuilder Request(FapiClient client) => Request(client, Assertion(client));

    /// <summary>A token of the client, bound to its key.</summary>
    private protected async Task<string> TokenAsync(FapiClient client)
    {
        var answer = await Request(client).SendAsync(Http);
        answer.IsGrant(Scope, tokenType: "DPoP");
        return answer.Token.EncodedToken;
    }

    /// <summary>
    /// The suite passes on this refusal: JSON with one of these codes, and 400, or 401 with invalid_client only.
    /// </summary>
    private protected static void Passes(Answer refusal, params string[] codes)
    {
        var code = refusal.Json.GetProperty("error").GetString();
        using (Assert.EnterMultipleScope())
        {
            Assert.That(codes, Does.Contain(code));
            Assert.That(refusal.Status, code == "invalid_client" ? Is.EqualTo(400).Or.EqualTo(401) : Is.EqualTo(400));
            Assert.That(refusal.Headers["Content-Type"], Is.EqualTo("application/json"));
        }
    }

    /// <summary>The suite passes on it, and it is the answer to every failed authentication, with this reason in the event.</summary>
    private protected async Task IsInvalidClientAsync(TokenRequestBuilder request, string reason)
    {
        var answer = await request.SendAsync(Http);
        Passes(answer, "invalid_client");
        answer.IsInvalidClient();
        Assert.That(ReasonOf(await Server.Events.OfAsync(answer.RequestId)), Is.EqualTo(reason));
    }

    private protected static string? ReasonOf(JsonElement line) => line.GetProperty("reason").GetString();
}
