namespace TokenService.Tests.Harness;

/// <summary>A server, a client that gets tokens from it, and an API that introspects them.</summary>
public abstract class IntrospectionFixture : ServerFixture
{
    private protected const string Resource = "https://api.example.com";

    /// <summary>Speaks for the resource of <see cref="ServerFixture.Client"/>'s tokens.</summary>
    private protected TestClient Api { get; private set; } = null!;

    [OneTimeSetUp]
    public async Task RegisterApi() => Api = await Database.CreateApiAsync("api", Resource);

    /// <summary>Issues a valid token.</summary>
    private protected Task<string> IssueAsync(string scope = "invoices:read") => IssueAsync(Client, scope);

    private protected async Task<string> IssueAsync(TestClient client, string scope = "invoices:read") =>
        (await TokenRequestBuilder.For(client).WithScope(scope).SendAsync(Server)).Token.EncodedToken;

    private protected Task<Answer> IntrospectAsync(string token) => IntrospectAsync(Api, token);

    private protected Task<Answer> IntrospectAsync(TestClient api, string token) =>
        TokenRequestBuilder.Introspect(api, token).SendAsync(Server);
}
