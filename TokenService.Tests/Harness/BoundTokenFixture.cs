using System.Security.Cryptography;
using System.Text.Json.Nodes;

namespace TokenService.Tests.Harness;

/// <summary>A fixture about APIs, with a server and a token of it that is bound to a key of its caller.</summary>
public abstract class BoundTokenFixture
{
    private ECDsa signingKey = null!;

    private protected Database Database { get; private set; } = null!;

    private protected TestClient Client { get; private set; } = null!;

    /// <summary>It listens at its issuer.</summary>
    private protected TestServer Server { get; private set; } = null!;

    /// <summary>The caller's key.</summary>
    private protected ApiDpopKey Key { get; private set; } = null!;

    /// <summary>A token for billing with the scope invoices:read, bound to <see cref="Key"/>.</summary>
    private protected string Token { get; private set; } = null!;

    /// <summary>The same token, as it was before it was bound.</summary>
    private protected string UnboundToken { get; private set; } = null!;

    [OneTimeSetUp]
    public async Task StartServer()
    {
        Database = await Database.CreateAsync();
        Client = await Database.CreateClientAsync("billing");
        Server = await TestServer.StartAtItsIssuerAsync(Database);
        signingKey = await Forgery.KeyOfAsync(Server);
        Key = ApiDpopKey.Create();
        UnboundToken = await IssueAsync();
        Token = BoundTo(Key);
    }

    [OneTimeTearDown]
    public async Task StopServer()
    {
        Key?.Dispose();
        signingKey?.Dispose();
        await (Server?.DisposeAsync() ?? ValueTask.CompletedTask);
        await (Database?.DisposeAsync() ?? ValueTask.CompletedTask);
    }

    private protected async Task<string> IssueAsync() =>
        (await TokenRequestBuilder.For(Client).WithScope("invoices:read").SendAsync(Server)).Token.EncodedToken;

    private protected string BoundTo(ApiDpopKey key) => BoundBy(new JsonObject { ["jkt"] = key.Thumbprint });

    /// <summary>The token with this cnf, signed by the server's key.</summary>
    private protected string BoundBy(JsonNode? confirmation, string? token = null) =>
        new Forgery(token ?? UnboundToken).WithClaim("cnf", confirmation!).SignedBy(signingKey);

    /// <summary>Status and headers are those of a challenge, and nothing else is there.</summary>
    private protected static void IsChallenged(Answer answer, int status, string challenge, string? nonce = null)
    {
        var expected = new Dictionary<string, string> { ["Cache-Control"] = "no-store", ["WWW-Authenticate"] = challenge };
        if (nonce is not null)
            expected["DPoP-Nonce"] = nonce;
        using (Assert.EnterMultipleScope())
        {
            Assert.That((answer.Status, answer.Body), Is.EqualTo((status, "")));
            Assert.That(answer.Headers.Where(header => header.Key != "Server"), Is.EquivalentTo(expected));
        }
    }
}
