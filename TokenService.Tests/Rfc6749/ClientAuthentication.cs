using TokenService.Secrets;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Rfc6749;

/// <summary>A request authenticates in one way only, and the client must be allowed to use that way.</summary>
[TestFixture, Rfc(6749, "2.3")]
public sealed class ClientAuthentication : ServerFixture
{
    private const string SeveralWays =
        "The client authenticates in more than one way. Send the credentials either in the header or in the body.";

    [Test, Rfc(6749, "2.3")]
    public async Task Credentials_in_both_the_header_and_the_body_are_refused([Values] bool bothRight) =>
        (await TokenRequestBuilder.For(Client).With("client_id", Client.Id).With("client_secret", bothRight ? Client.Secret : "x")
            .SendAsync(Server)).IsError(400, "invalid_request", SeveralWays);

    [TestCase("Bearer x")]
    [TestCase("Basic x")]
    [TestCase("Basic")]
    [TestCase("\nAuthorization: Basic x")]
    public async Task Any_Authorization_header_beside_a_secret_in_the_body_is_refused(string authorization) =>
        (await PostWithHeaderAsync(authorization)).IsError(400, "invalid_request", SeveralWays);

    // A deliberate leniency: some libraries send the header although they have nothing to put into it.
    [TestCase("")]
    [TestCase("   ")]
    [TestCase("\nAuthorization:")]
    public async Task An_empty_Authorization_header_is_none(string authorization) =>
        (await PostWithHeaderAsync(authorization)).IsGrant("invoices:read");

    [Test]
    public async Task An_empty_Authorization_header_beside_a_full_one_is_none([Values] bool first)
    {
        const string empty = "Authorization:\n";
        var full = $"Authorization: Basic {TokenRequestBuilder.Base64($"{Client.Id}:{Client.Secret}")}\n";
        await using var wire = await RawConnection.OpenAsync(Server);
        await wire.SendAsync(
            $"POST /token HTTP/1.1\nHost: 127.0.0.1\nContent-Type: application/x-www-form-urlencoded\n{(first ? empty + full : full + empty)}"
            + "Content-Length: 29\n\ngrant_type=client_credentials");

        (await wire.ReadAnswerAsync()).IsGrant("invoices:read");
    }

    [Test]
    public async Task An_assertion_beside_a_secret_is_refused([Values] bool inBody) =>
        (await (inBody ? TokenRequestBuilder.ByPost(Client) : TokenRequestBuilder.For(Client)).With("client_assertion", "x")
            .SendAsync(Server)).IsError(400, "invalid_request", SeveralWays);

    [Test]
    public async Task Two_Authorization_headers_are_refused_even_if_they_are_the_same()
    {
        var authorization = $"Authorization: Basic {TokenRequestBuilder.Base64($"{Client.Id}:{Client.Secret}")}\n";
        await using var wire = await RawConnection.OpenAsync(Server);
        await wire.SendAsync(
            $"POST /token HTTP/1.1\nHost: 127.0.0.1\nContent-Type: application/x-www-form-urlencoded\n{authorization}{authorization}"
            + "Content-Length: 29\n\ngrant_type=client_credentials");

        (await wire.ReadAnswerAsync()).IsError(400, "invalid_request", SeveralWays);
    }

    // Two different ids would leave it open which client sent the request.
    [Test]
    public async Task A_client_id_in_the_body_must_be_the_one_in_the_header()
    {
        (await TokenRequestBuilder.For(Client).With("client_id", Client.Id).SendAsync(Server)).IsGrant("invoices:read");
        (await TokenRequestBuilder.For(Client).With("client_id", "another").SendAsync(Server))
            .IsError(400, "invalid_request", "The client_id in the body is not the one in the Authorization header.");
    }

    [Test]
    public async Task A_secret_in_the_body_needs_a_client_id_beside_it() =>
        (await TokenRequestBuilder.ByPost(Client).Without("client_id").SendAsync(Server))
            .IsError(400, "invalid_request", "The parameter client_id is missing from the body.");

    [Rfc(6749, "2.3.2"), Rfc(6749, "2.3.1c"), Rfc(6749, "5.2f")]
    [TestCase("client_secret_basic", true, false)]
    [TestCase("client_secret_post", false, true)]
    [TestCase("client_secret_basic client_secret_post", true, true)]
    public async Task A_client_may_use_only_the_methods_stored_for_it(string methods, bool basic, bool post)
    {
        var client = await Database.CreateClientAsync(methods.Replace(' ', '.'), methods: methods);

        Check(await TokenRequestBuilder.For(client).SendAsync(Server), basic);
        Check(await TokenRequestBuilder.ByPost(client).SendAsync(Server), post);

        static void Check(Answer answer, bool allowed)
        {
            if (allowed)
                answer.IsGrant("invoices:read");
            else
                answer.IsInvalidClient();
        }
    }

    [Test, Rfc(6749, "2.3.1c")]
    public async Task A_new_client_may_not_send_its_secret_in_the_body_by_default()
    {
        var secret = GeneratedSecret.Create();
        await Database.ExecuteAsync(
            """
            select token_service.create_client(
                'plain', 'Says nothing of methods', 'https://api.example.com', '{invoices:read}', '{invoices:read}');
            select token_service.add_secret('plain', @Selector, @Digest)
            """,
            new { secret.Selector, Digest = Database.Digest(secret.Value) });

        (await TokenRequestBuilder.For(new TestClient("plain", secret.Value)).SendAsync(Server)).IsGrant("invoices:read");
        (await TokenRequestBuilder.ByPost(new TestClient("plain", secret.Value)).SendAsync(Server)).IsInvalidClient();
    }

    [Rfc(6749, "2.1"), Rfc(6749, "3.2.1"), Rfc(6749, "4.4")]
    [TestCase("grant_type=client_credentials", Description = "no credentials")]
    [TestCase("grant_type=client_credentials&client_id=billing", Description = "a name alone, as a public client sends it")]
    [TestCase("grant_type=client_credentials&client_id=billing&client_secret=", Description = "RFC 6749 §2.3.1: the empty secret")]
    [TestCase("grant_type=password&username=billing&password=x",
        Description = "the client is authenticated before the grant type is read")]
    [TestCase("")]
    public async Task A_request_without_client_authentication_is_refused(string body) =>
        (await TokenRequestBuilder.Anonymous().WithBody(body).SendAsync(Server)).IsInvalidClient();

    [Test, Rfc(6749, "2.1"), Rfc(6749, "4.4")]
    public async Task A_client_without_a_secret_is_refused()
    {
        var client = await Database.CreateClientAsync("public");
        await Database.ExecuteAsync("delete from token_service.client_secret where client_id = @Id", client);

        (await TokenRequestBuilder.For(client).SendAsync(Server)).IsInvalidClient();
        (await TokenRequestBuilder.For(client with { Secret = "x" }).SendAsync(Server)).IsInvalidClient();
        (await TokenRequestBuilder.Anonymous().With("client_id", client.Id).SendAsync(Server)).IsInvalidClient();
    }

    private async Task<Answer> PostWithHeaderAsync(string authorization)
    {
        await using var wire = await RawConnection.OpenAsync(Server);
        var body = $"grant_type=client_credentials&client_id={Client.Id}&client_secret={Client.Secret}";
        await wire.SendAsync(
            $"POST /token HTTP/1.1\nHost: 127.0.0.1\nContent-Type: application/x-www-form-urlencoded\nAuthorization: {authorization}\n"
            + $"Content-Length: {body.Length}\n\n{body}");
        return await wire.ReadAnswerAsync();
    }
}
