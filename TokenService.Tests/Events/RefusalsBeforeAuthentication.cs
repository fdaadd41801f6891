using TokenService.Tests.Harness;

namespace TokenService.Tests.Events;

/// <summary>
/// A request that is refused before its client is authenticated: its event has the client_id that the header or the body
/// names, if a known client has it. Otherwise the operator could not tell whom to tell.
/// </summary>
[TestFixture]
public sealed class RefusalsBeforeAuthentication : ServerFixture
{
    private const string Id = "billing";

    // As after a start, the server has not read the client yet.
    [SetUp]
    public async Task TheClientIsNotCached()
    {
        await Database.ExecuteAsync("update token_service.client set name = name || '.' where id = @Id", Client);
        await Server.HasReceivedNotificationsAsync();
    }

    [Test]
    public Task Of_another_media_type() =>
        IsNamedAsync(TokenRequestBuilder.For(Client).WithContentType("application/json"), "body_not_form");

    [Test]
    public Task With_another_method() =>
        IsNamedAsync(TokenRequestBuilder.For(Client).WithMethod(HttpMethod.Put), "method_not_post");

    [Test]
    public Task With_credentials_in_the_query() =>
        IsNamedAsync(TokenRequestBuilder.For(Client).WithPath("/token?client_id=x"), "credentials_in_query");

    [Test]
    public Task With_a_repeated_parameter([Values] bool inBody) =>
        IsNamedAsync(From(inBody).With("scope", "x").With("scope", "x"), "parameter_repeated");

    [Test]
    public Task With_a_body_that_is_badly_encoded() =>
        IsNamedAsync(TokenRequestBuilder.Anonymous().WithBody($"scope=%&client_id={Id}&client_secret=x"), "body_badly_encoded");

    [Test]
    public Task With_white_space_before_a_name() =>
        IsNamedAsync(TokenRequestBuilder.Anonymous().WithBody($"client_id={Id}&\nclient_secret=x"), "white_space_before_name");

    [Test]
    public Task In_several_ways([Values] bool sameInBody) =>
        IsNamedAsync(
            (sameInBody ? TokenRequestBuilder.ByPost(Client) : TokenRequestBuilder.Anonymous().With("client_secret", "x"))
                .WithBasic(Id, Client.Secret),
            "several_auth_methods");

    [Test]
    public Task With_another_id_in_the_body() =>
        IsNamedAsync(TokenRequestBuilder.For(Client).With("client_id", "another"), "client_id_mismatch");

    [Test]
    public Task With_a_secret_in_the_header_that_cannot_be_read() =>
        IsNamedAsync(
            TokenRequestBuilder.Anonymous().WithAuthorization("Basic " + TokenRequestBuilder.Base64($"{Id}:100%")), "basic_malformed");

    [Test]
    public Task With_an_id_and_no_secret([Values] bool inBody) =>
        inBody
            ? IsNamedAsync(TokenRequestBuilder.Anonymous().With("client_id", Id), "no_credentials")
            : IsNamedAsync(TokenRequestBuilder.Anonymous().WithBasic(Id, ""), "secret_empty_or_too_long");

    [TestCase("nobody", Description = "not a client")]
    [TestCase("tsvc_nobody", Description = "no id at all")]
    [TestCase("%")]
    public async Task An_id_that_no_known_client_has_is_left_out(string id)
    {
        var line = await LineAsync(TokenRequestBuilder.Anonymous().WithBasic(id, "x").With("scope", "x").With("scope", "x"));
        Assert.That(line.TryGetProperty("client_id", out _), Is.False, line.GetRawText());
    }

    private TokenRequestBuilder From(bool inBody) => inBody ? TokenRequestBuilder.ByPost(Client) : TokenRequestBuilder.For(Client);

    private async Task IsNamedAsync(TokenRequestBuilder request, string reason)
    {
        var line = await LineAsync(request);
        Assert.That(
            (line.GetProperty("reason").GetString(), line.TryGetProperty("client_id", out var id) ? id.GetString() : null),
            Is.EqualTo((reason, Id)));
    }

    private async Task<System.Text.Json.JsonElement> LineAsync(TokenRequestBuilder request) =>
        await Server.Events.OfAsync((await request.SendAsync(Server)).EventId);
}
