using TokenService.Secrets;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Admin;

/// <summary><c>scripts/create-client.sql</c>, run by the real psql as an admin runs it.</summary>
[TestFixture]
public sealed class CreateClientScript : ServerFixture
{
    private const string Imported = "imported_AAAAAAAAAAAA";
    private const string Digest = "$argon2id$v=19$m=8192,t=1,p=1$c29tZXNhbHRzb21lc2FsdA$K13EBUiG7JVe9Zxzthx1TW+yJ0WQsnjyV8bZaqyPptE";

    private static readonly string[] Shipping =
    [
        "client_id=shipping", "name=O'Reilly's shipping; a 'service'", "resource=https://parcels.example.com",
        "scopes=parcels:read parcels:write", "default_scopes=parcels:read",
    ];

    // One variable that is spoiled, and the message and hint that the admin reads.
    private static IEnumerable<TestCaseData> Spoiled() =>
    [
        new("client_id=", "The client_id is outside the grammar.",
            "Use 1 to 128 letters, digits, \".\", \"_\" and \"-\", beginning with a letter or digit."),
        new("client_id=billing", "There is already a client \"billing\".", "Choose another client_id."),
        new("name=", "The name of client \"spoiled\" is empty or longer than 200 characters.", "Say in a few words what the client is."),
        new("resource=", "The resource is neither an absolute URI without a fragment nor a plain name.",
            "Use the identifier of the API, such as https://api.example.com, or the name it already expects as aud."),
        new("scopes=", "Client \"spoiled\" would hold no scope, so it could get no token.",
            "Pass at least one scope, or no resource either, for a client that only speaks for an API."),
        new("default_scopes=admin", "A default scope of client \"spoiled\" is not among its scopes.",
            "Default scopes are those of its scopes granted when a request names none."),
        new("methods=none", "The authentication methods of client \"spoiled\" are not ones this server offers.",
            "Use client_secret_basic, client_secret_post, private_key_jwt, or several of them."),
        new("secret_id=", "The digest of client \"spoiled\" comes without its secret_id.",
            "Pass digest and secret_id together, as \"TokenService secret new\" or \"TokenService secret hash\" printed them."),
        new("digest=a plaintext secret", "The digest of client \"spoiled\" is not an Argon2id digest.",
            "Make one with \"TokenService secret new\", or digest a secret you already have with \"TokenService secret hash\". "
            + "Never store a secret itself: if one was pasted here, treat it as leaked."),
    ];

    [Test]
    public async Task A_client_is_made_and_its_secret_shown_once()
    {
        var psql = await PsqlAsync(["--echo-queries"], Shipping);
        Assert.That(psql.ExitCode, Is.Zero, psql.Error);

        var secret = psql.Value("client_secret");
        var client = new TestClient("shipping", secret);
        (await TokenRequestBuilder.For(client).SendAsync(Server)).IsGrant("parcels:read");

        using (Assert.EnterMultipleScope())
        {
            Assert.That(psql.Error, Is.Empty);
            Assert.That(psql.Output, Does.Contain("O'Reilly's shipping; a 'service'").And.Contain("https://parcels.example.com"));
            Assert.That(psql.Output.Split(secret), Has.Length.EqualTo(2), "shown once");
            // psql echoes each query as it sends it to the database: with the digest, and without the secret.
            Assert.That(psql.Output, Does.Contain("p_digest    => nullif('$argon2id$"));
            Assert.That(psql.Output, Does.EndWith($"The secret, shown this once:\nclient_secret={secret}\n"));
        }

        // A client may not authenticate in the body by default: RFC 6749 §2.3.1 advises against it.
        (await TokenRequestBuilder.ByPost(client).SendAsync(Server)).IsInvalidClient();
    }

    [Test]
    public async Task A_client_gets_the_methods_and_default_scopes_that_are_passed()
    {
        var psql = await PsqlAsync([],
        [
            "client_id=poster", "name=x", "resource=https://post.example.com", "scopes=post",
            "methods=client_secret_post client_secret_basic",
        ]);
        Assert.That(psql.ExitCode, Is.Zero, psql.Error);

        var client = new TestClient("poster", psql.Value("client_secret"));
        (await TokenRequestBuilder.ByPost(client).WithScope("post").SendAsync(Server)).IsGrant("post");
        (await TokenRequestBuilder.ByPost(client).SendAsync(Server))
            .IsError(400, "invalid_scope", "This client has no default scopes: name the scopes you want.");
    }

    [Test]
    public async Task A_secret_made_elsewhere_is_not_shown()
    {
        var secret = GeneratedSecret.Create();
        var psql = await PsqlAsync([],
        [
            "client_id=elsewhere", "name=x", "resource=https://elsewhere.example.com", "scopes=elsewhere",
            $"secret_id={secret.Selector}", $"digest={Database.Digest(secret.Value)}",
        ]);
        Assert.That(psql.ExitCode, Is.Zero, psql.Error);
        Assert.That(psql.Output, Does.Not.Contain("client_secret=").And.Not.Contain("shown this once"));

        (await TokenRequestBuilder.For(new("elsewhere", secret.Value)).WithScope("elsewhere").SendAsync(Server)).IsGrant("elsewhere");
    }

    [TestCaseSource(nameof(Spoiled))]
    public async Task A_wrong_variable_is_refused_with_a_hint(string spoiled, string message, string hint) =>
        IsRefused(
            await PsqlAsync([],
            [
                "client_id=spoiled", "name=x", "resource=https://spoiled.example.com", "scopes=spoiled", $"secret_id={Imported}",
                $"digest={Digest}", spoiled,
            ]),
            message, hint);

    [Test]
    public async Task A_secret_id_without_its_digest_is_refused() =>
        IsRefused(
            await PsqlAsync(
                [],
                ["client_id=spoiled", "name=x", "resource=https://spoiled.example.com", "scopes=spoiled", $"secret_id={Imported}"]),
            "The digest of client \"spoiled\" is not an Argon2id digest.",
            "Make one with \"TokenService secret new\", or digest a secret you already have with \"TokenService secret hash\". "
            + "Never store a secret itself: if one was pasted here, treat it as leaked.");

    private void IsRefused(Tool psql, string message, string hint)
    {
        using (Assert.EnterMultipleScope())
        {
            Assert.That(psql.ExitCode, Is.EqualTo(Psql.ScriptFailed));
            Assert.That(psql.Error, Does.Contain($"ERROR:  {message}\n").And.Contain($"HINT:  {hint}\n"));
            Assert.That(psql.Error + psql.Output, Does.Not.Contain("a plaintext secret"));
            Assert.That(psql.Output, Is.Empty);
            Assert.That(
                () => Database.ReadAsync<int>("select count(*) from token_service.resource where id like '%spoiled%'"),
                Is.Zero, "the refused call leaves no resource");
        }
    }

    private Task<Tool> PsqlAsync(string[] options, string[] variables) =>
        Psql.ScriptAsync(Database, "create-client.sql", variables, options);
}
