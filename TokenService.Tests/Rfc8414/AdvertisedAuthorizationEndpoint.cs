using System.Text;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Rfc8414;

/// <summary>
/// For clients that refuse metadata without an authorization endpoint, the operator may advertise one. It grants nothing.
/// </summary>
[TestFixture, Rfc(8414, "2"), Rfc(6749, "3.1")]
public sealed class AdvertisedAuthorizationEndpoint : ServerFixture
{
    private const string WellKnown = "/.well-known/oauth-authorization-server";
    private const string OpenId = "/.well-known/openid-configuration";

    private const string Description =
        "This server has no response types: its only grant is client_credentials, at the token endpoint.";

    private protected override string[] Settings => ["Metadata:AdvertiseAuthorizationEndpoint=true"];

    [Test]
    public async Task Both_documents_have_it_and_nothing_else_changes()
    {
        await using var plain = await TestServer.StartAsync(Database);
        foreach (var path in new[] { WellKnown, OpenId })
        {
            Assert.That(
                (await Server.GetAsync(path)).Body,
                Is.EqualTo((await plain.GetAsync(path)).Body.Replace(
                    "\"token_endpoint\":",
                    "\"authorization_endpoint\":\"http://127.0.0.1:8080/authorize\",\"token_endpoint\":",
                    StringComparison.Ordinal)));
        }
    }

    // The schemas of the MCP SDKs for TypeScript and Python require these members.
    [TestCase(WellKnown, "issuer authorization_endpoint token_endpoint response_types_supported")]
    [TestCase(OpenId,
        "issuer authorization_endpoint token_endpoint jwks_uri response_types_supported subject_types_supported "
        + "id_token_signing_alg_values_supported")]
    public async Task A_client_whose_schema_requires_it_takes_the_metadata(string path, string required)
    {
        var members = (await Server.GetAsync(path)).Json.EnumerateObject().Select(member => member.Name);
        Assert.That(required.Split(' ').Except(members), Is.Empty);
    }

    // RFC 9700 §4.11: a redirection to an address that nobody registered would make this server an open redirector.
    [TestCase("GET", "")]
    [TestCase("GET", "?response_type=code&client_id=billing&redirect_uri=https%3A%2F%2Fevil.example%2F&state=x")]
    [TestCase("GET", "?response_type=token&client_id=nobody&response_mode=form_post")]
    [TestCase("GET", "?client_id=billing&client_secret=tsvc_x")]
    [TestCase("POST", "")]
    [TestCase("POST", "?response_type=code&redirect_uri=https%3A%2F%2Fevil.example%2F")]
    [Rfc(6749, "4.1.2.1"), Rfc(9700, "4.11")]
    public async Task Every_request_gets_unsupported_response_type_and_no_redirect(string method, string query)
    {
        using var request = new HttpRequestMessage(new HttpMethod(method), "/authorize" + query);
        if (method is "POST")
        {
            request.Content = new StringContent(
                "response_type=code&redirect_uri=https://evil.example/", Encoding.ASCII, "application/x-www-form-urlencoded");
        }

        using var response = await Server.Client.SendAsync(request);
        (await Answer.ReadAsync(response)).IsError(400, "unsupported_response_type", Description);
    }

    [Test]
    public async Task HEAD_has_no_body_and_another_method_is_refused()
    {
        var head = await Server.SendAsync(HttpMethod.Head, "/authorize");
        var put = await Server.SendAsync(HttpMethod.Put, "/authorize");
        using (Assert.EnterMultipleScope())
        {
            Assert.That((head.Status, head.Body), Is.EqualTo((400, "")));
            Assert.That((put.Status, put.Headers["Allow"]), Is.EqualTo((405, "GET, HEAD, POST")));
        }
    }

    // Anybody may send such requests; they are no business of the event log.
    [Test]
    public async Task A_request_makes_no_event()
    {
        await using var database = await Database.CreateAsync();
        var client = await database.CreateClientAsync("billing");
        await using var server = await TestServer.StartAsync(database, Settings);

        await server.GetAsync("/authorize?response_type=code&client_id=billing");
        await server.Events.OfAsync((await TokenRequestBuilder.For(client).SendAsync(server)).EventId);
        Assert.That(server.Events.Lines, Has.Count.EqualTo(1));
    }

    [TestCase("", "http://127.0.0.1:8080/authorize")]
    [TestCase("/tenant", "http://127.0.0.1:8080/tenant/authorize")]
    public async Task It_is_below_the_issuer(string path, string expected)
    {
        await using var server = await TestServer.StartAsync(Database, [.. Settings, $"Issuer=http://127.0.0.1:8080{path}"]);

        Assert.That((await server.GetAsync(WellKnown + path)).Json.GetProperty("authorization_endpoint").GetString(), Is.EqualTo(expected));
        (await server.GetAsync($"{path}/authorize")).IsError(400, "unsupported_response_type", Description);
    }

    [TestCase("GET")]
    [TestCase("POST")]
    public async Task Without_the_setting_there_is_no_such_path(string method)
    {
        await using var server = await TestServer.StartAsync(Database);

        var answer = await server.SendAsync(new HttpMethod(method), "/authorize");
        using (Assert.EnterMultipleScope())
        {
            Assert.That(answer.Status, Is.EqualTo(404));
            Assert.That(answer.Body, Is.Empty);
            Assert.That((await server.GetAsync(WellKnown)).Json.TryGetProperty("authorization_endpoint", out _), Is.False);
        }
    }
}
