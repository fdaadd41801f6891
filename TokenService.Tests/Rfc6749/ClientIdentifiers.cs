using System.Text;
using System.Text.Json;
using Dapper;
using TokenService.Jose;
using TokenService.Protocol;
using TokenService.Secrets;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Rfc6749;

/// <summary>
/// The client identifier. The RFC leaves its characters and its length to the server. A client that comes from another
/// server keeps the one it has there.
/// </summary>
[TestFixture, Rfc(6749, "2.2"), Rfc(6749, "A.1")]
public sealed class ClientIdentifiers : ServerFixture
{
    private const string EveryCharacter =
        "!#$%&()+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_abcdefghijklmnopqrstuvwxyz{|}~";

    private const string OfScripts = "}" + EveryCharacter;

    // As Keycloak, Entra ID, Kubernetes, SPIFFE, Google, Auth0 and Cognito have them, and the longest.
    private static readonly string[] Imported =
    [
        "https://sp.example.com/saml/metadata", "api://0f8fad5b-d9cb-469f-a165-70867728950e", "{tenant}/billing",
        "system:serviceaccount:payments:reconciler", "spiffe://example.com/ns/payments/sa/api", "~billing",
        "build@project.iam.gserviceaccount.com", "@acme/ci", "a%3Ab", "a+b", ":", EveryCharacter, new string('~', 255),
    ];

    [Test]
    public async Task A_client_with_an_id_of_another_server_gets_tokens_and_introspects_and_revokes_them(
        [ValueSource(nameof(Imported))] string id)
    {
        var client = await Database.CreateClientAsync(id);
        await Database.ExecuteAsync(
            "insert into token_service.resource_server values (@id, 'https://api.example.com') on conflict do nothing", new { id });

        var basic = await TokenRequestBuilder.For(client).SendAsync(Server);
        basic.IsGrant("invoices:read");
        (await TokenRequestBuilder.ByPost(client).SendAsync(Server)).IsGrant("invoices:read");
        (await TokenRequestBuilder.For(client).With("client_id", id).SendAsync(Server)).IsGrant("invoices:read");
        (await TokenRequestBuilder.For(client with { Secret = "wrong" }).SendAsync(Server)).IsInvalidClient();

        var token = basic.Token.EncodedToken;
        (await TokenRequestBuilder.Introspect(client, token).SendAsync(Server)).IsActive(token);
        (await TokenRequestBuilder.Revoke(client, token).SendAsync(Server)).IsDone(contentType: null);
        (await TokenRequestBuilder.Introspect(client, token).SendAsync(Server)).IsInactive();
        var line = await Server.Events.OfAsync(basic.EventId);
        Assert.That(line.GetProperty("client_id").GetString(), Is.EqualTo(id));
    }

    // The id ends at the first colon that is sent as it is. In an id without colon, percent sign and plus, a client that
    // encodes nothing does no harm.
    [Rfc(6749, "2.3.1b")]
    [TestCase("urn:raw", "urn:raw", false)]
    [TestCase("urn:encoded", "urn%3Aencoded", true)]
    [TestCase("urn:small", "urn%3asmall", true)]
    [TestCase("100%", "100%", false)]
    [TestCase("100%25", "100%2525", true)]
    [TestCase("raw+plus", "raw+plus", false)]
    [TestCase("encoded+plus", "encoded%2Bplus", true)]
    [TestCase("{raw}/@~?=&;,", "{raw}/@~?=&;,", true)]
    [TestCase("{encoded}/@~", "%7Bencoded%7D%2F%40%7E", true)]
    public async Task An_id_is_form_encoded_in_Basic(string id, string wire, bool isRight)
    {
        var client = await Database.CreateClientAsync(id);

        var answer = await TokenRequestBuilder.Anonymous()
            .WithAuthorization("Basic " + TokenRequestBuilder.Base64($"{wire}:{client.Secret}")).SendAsync(Server);

        if (isRight)
            answer.IsGrant("invoices:read");
        else
            answer.IsInvalidClient();
    }

    [Test]
    public async Task A_notification_of_a_change_names_an_id_of_any_form([Values(EveryCharacter, "255")] string name)
    {
        var id = "!" + (name is "255" ? new string('~', 254) : name);
        var client = await Database.CreateClientAsync(id);
        (await TokenRequestBuilder.For(client).SendAsync(Server)).IsGrant("invoices:read");
        await Database.ExecuteAsync("select token_service.set_client_enabled(@id, false)", new { id });
        await Server.HasReceivedNotificationsAsync();

        (await TokenRequestBuilder.For(client).SendAsync(Server)).IsInvalidClient();
    }

    // The database computes the length of the list of revoked tokens from the length of the ids.
    [Test]
    public void No_character_of_an_id_is_escaped_in_a_token_or_in_the_list_of_revoked_tokens()
    {
        var json = Utf8Json.Write(EveryCharacter, (id, writer) =>
        {
            writer.WriteStartObject();
            writer.WriteNumber(id, 1);
            writer.WriteEndObject();
        });
        Assert.That(Encoding.UTF8.GetString(json), Is.EqualTo($$"""{"{{EveryCharacter}}":1}"""));
    }

    [Test]
    public async Task The_server_and_the_database_have_the_same_grammars()
    {
        var ids = Candidates().Distinct().ToList();
        await using var connection = await Database.Source.OpenConnectionAsync();
        var answers = (await connection.QueryAsync<(bool, bool)>(
            """
            select token_service.is_client_id(id), token_service.is_simple_client_id(id)
            from unnest(@ids) with ordinality as t (id, n)
            order by n
            """,
            new { ids })).ToList();

        using (Assert.EnterMultipleScope())
        {
            // The server refuses the prefix in its own step.
            foreach (var (id, answer) in ids.Zip(answers).Where(pair => !GeneratedSecret.HasPrefix(pair.First)))
                Assert.That((ClientId.IsWellFormed(id), ClientId.IsSimple(id)), Is.EqualTo(answer), JsonSerializer.Serialize(id));
            Assert.That(answers.Count(answer => answer.Item1), Is.GreaterThan(500));
            Assert.That(answers.Count(answer => answer.Item2), Is.GreaterThan(100));
            Assert.That(answers.Count(answer => !answer.Item1), Is.GreaterThan(500));
            Assert.That(
                Enumerable.Range(1, 0x2FF).Where(c => ClientId.IsWellFormed($"{(char)c}")).Select(c => (char)c),
                Is.EqualTo(EveryCharacter));
        }
    }

    [Test]
    public async Task An_id_that_looks_like_a_secret_is_refused()
    {
        foreach (var function in (string[])["is_client_id", "is_simple_client_id"])
            Assert.That(await Database.ReadAsync<bool>($"select token_service.{function}('tsvc_a')"), Is.False);
        (await TokenRequestBuilder.For(new TestClient("tsvc_a", "secret")).SendAsync(Server)).IsInvalidClient();
    }

    [TestCase("urn:a+b%c", "{client_secret_basic,client_secret_post}", "urn%3Aa%2Bb%25c")]
    [TestCase("urn:post", "{client_secret_post}", null)]
    [TestCase("{a}/b@c~d", "{client_secret_basic}", null)]
    public async Task The_admin_is_warned_of_an_id_that_some_clients_send_wrongly(string id, string methods, string? encoded)
    {
        var warnings = new List<string>();
        await using var connection = await Database.Source.OpenConnectionAsync();
        connection.Notice += (_, e) => warnings.Add($"{e.Notice.InvariantSeverity}: {e.Notice.MessageText} {e.Notice.Hint}");
        await connection.ExecuteAsync(
            "select token_service.create_client(@id, 'x', p_methods => @methods::text[], p_imported => true)", new { id, methods });

        Assert.That(warnings, Is.EqualTo(encoded is null ? Array.Empty<string>() :
        [
            $"WARNING: Some clients send the id \"{id}\" wrongly in HTTP Basic. It is sent there as {encoded}. curl -u, "
            + "Apache HttpClient, requests-oauthlib, Authlib, ruby-oauth2, axios and librdkafka do not encode it: set the encoded id "
            + "in them, or let them use client_secret_post.",
        ]));
    }

    [Test]
    public async Task The_scripts_take_an_id_of_another_server()
    {
        var made = await RunAsync("create-client.sql", "imported=on", "name=x", "resource=urn:scripts", "scopes=a b", "default_scopes=a");
        var client = new TestClient(OfScripts, made.Value("client_secret"));
        (await TokenRequestBuilder.For(client).SendAsync(Server)).IsGrant("a");

        await RunAsync("show-client.sql");
        await RunAsync("add-secret.sql", "label=second");
        await RunAsync("rotate-secret.sql", "overlap=1 hour");
        await RunAsync("update-client.sql", "name=y");
        await RunAsync("grant-scope.sql", "scope=b", "default=on");
        await RunAsync("revoke-scope.sql", "scope=b");
        await RunAsync("register-resource-server.sql", "resource=urn:scripts");
        await RunAsync("unregister-resource-server.sql", "resource=urn:scripts");
        await RunAsync("credentials-report.sql");
        await RunAsync("revoke-client-tokens.sql");
        await RunAsync("audit-log.sql");
        await RunAsync("disable-client.sql");
        await RunAsync("enable-client.sql");
        await RunAsync("disable-client.sql");
        await RunAsync("delete-client.sql");
    }

    private async Task<Tool> RunAsync(string script, params string[] variables)
    {
        var psql = await Psql.ScriptAsync(Database, script, [$"client_id={OfScripts}", .. variables]);
        Assert.That(psql.ExitCode, Is.Zero, $"{script}: {psql.Error}");
        Assert.That(psql.Error, Does.Not.Contain("ERROR"), script);
        return psql;
    }

    // Each character alone, at the beginning, inside and at the end; each length around a bound; and random strings.
    private static IEnumerable<string> Candidates()
    {
        foreach (var c in Enumerable.Range(1, 0x2FF).Append(0x2028).Append(0xFF0A).Select(c => (char)c))
        {
            foreach (var id in (string[])[$"{c}", $"{c}a", $"a{c}a", $"a{c}"])
                yield return id;
        }

        foreach (var length in (int[])[0, 1, 127, 128, 129, 254, 255, 256, 257, 1000])
        {
            yield return new string('a', length);
            yield return new string('~', length);
        }

        foreach (var prefix in (string[])["tsvc", "tsvc_", "tsvc_a", "Tsvc_", "atsvc_", "TSVC_"])
            yield return prefix;

        var random = new Random(20261130);
        for (var i = 0; i < 2000; i++)
        {
            var characters = i % 2 == 0 ? EveryCharacter : "abcXYZ019._-";
            var id = random.GetItems<char>(characters, random.Next(1, 300));
            if (random.Next(3) == 0)
                id[random.Next(id.Length)] = (char)random.Next(1, 0x180);
            yield return new string(id);
        }
    }
}
