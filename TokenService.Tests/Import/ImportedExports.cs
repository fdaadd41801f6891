using System.Runtime.Versioning;
using System.Text.Json;
using TokenService.Tests.Harness;

namespace TokenService.Tests.Import;

/// <summary>
/// An admin brings the clients of another server: a dry run, the import, and the import again. Then the clients get
/// tokens with the secrets they had.
/// </summary>
[TestFixture, UnsupportedOSPlatform("windows")]
public sealed class ImportedExports : ImportFixture
{
    private const string DryRun = "This was a dry run: nothing was changed. To make them, add --apply, and --secrets-file PATH for "
        + "the new secrets.";

    private static readonly string[] ImpossibleInKeycloak =
    [
        "CANNOT      inventory-api  clients[13]: its id is also the name of an API, for which tokens have it as aud. Give the "
            + "client another id: "
        + "--rename inventory-api=NEW, or the API: --map inventory-api=https://…",
        "CANNOT      Data Lake Loader  clients[23]: its id has more than 255 characters, or a character that no id may have here (space, "
        + "quotation mark, `, \\, *, or not ASCII). Give it another one: --rename 'Data Lake Loader'=NEW",
        "CANNOT      jwt-signer  clients[24]: it authenticates by private_key_jwt. To give it a secret instead: --new-secret-for "
            + "jwt-signer",
        "CANNOT      mtls-gateway  clients[25]: it authenticates by mutual TLS (client-x509). To give it a secret instead: "
            + "--new-secret-for "
        + "mtls-gateway",
        "CANNOT      weak  clients[30]: its secret has fewer than 16 characters, or is not valid text, and could be guessed. To "
            + "give it a new "
        + "one: --new-secret-for weak",
        "CANNOT      verbose  clients[31]: its secret has more than 256 bytes. To give it a new one: --new-secret-for verbose",
        "CANNOT      idle  clients[35]: it has no scope and no API, and would get no token. Give it both: --resource API --scopes "
            + "'NAME …'",
        "CANNOT      sweeper  clients[36]: the export does not say to which API its scopes belong: sweep. Say it: --resource API",
        "CANNOT      impostor  clients[34]: The extra claims of client \"impostor\" include a reserved one: email. The server sets "
            + "it, or APIs "
        + "read from it who a person is. Choose another name, such as a URI of your own. Without its claims: --no-claims-for impostor",
    ];

    private static readonly string[] LeftOutOfKeycloak =
    [
        "left out    orders-api  clients[11]: it is an API, which needs no client to verify tokens",
        "left out    web-shop  clients[14]: it is a public client, without credentials",
        "left out    mobile-app  clients[15]: it is a public client, without credentials",
        "left out    admin-portal  clients[16]: it does not use the client credentials grant (no service account)",
        "left out    https://sp.acme.example/saml/metadata  clients[22]: it does not speak OpenID Connect",
    ];

    [Test]
    public async Task A_realm_of_Keycloak_is_shown_without_a_change()
    {
        var shown = await ImportAsync("keycloak", Export("keycloak-realm.json"));

        var lines = shown.Output.TrimEnd().Split('\n');
        using (Assert.EnterMultipleScope())
        {
            Assert.That(shown.ExitCode, Is.EqualTo(3), shown.Error);
            Assert.That(lines.Where(line => line.StartsWith("CANNOT", StringComparison.Ordinal)), Is.EquivalentTo(ImpossibleInKeycloak));
            Assert.That(lines.Where(line => line.StartsWith("left out", StringComparison.Ordinal)), Is.EqualTo(LeftOutOfKeycloak));
            Assert.That(lines, Has.Member(
                "Note: The realm signs with RS256, and this server with ES256 unless an API is made with another algorithm. If APIs "
                    + "verify "
                + "nothing else, pass --signing-alg RS256."));
            Assert.That(lines, Has.Member(
                "would make  billing  \"Billing service\", its secret; https://api.acme.example/invoices: invoices:read "
                    + "(invoices:write)"));
            Assert.That(lines, Has.Member(
                "would make  legacy-batch  \"Legacy batch (off)\", disabled, its secret; https://api.acme.example/invoices: "
                    + "invoices:read"));
            Assert.That(lines, Has.Member(
                "would make  masked  \"Masked by a partial export\", new secret (a partial export masks it); "
                + "https://api.acme.example/invoices: invoices:read"));
            Assert.That(lines, Has.Member(
                "would make  reporting  \"Reporting\", its secret; orders-api: orders:read orders:export; claims "
                    + "{\"realm_access\":{\"roles\":"
                + "[\"reporter\"]},\"resource_access\":{\"orders-api\":{\"roles\":[\"orders:read\",\"orders:export\"]}}}"));
            Assert.That(lines, Has.One.StartsWith("              ! Some clients send the id \"urn:acme:ci\" wrongly in HTTP Basic."));
            Assert.That(lines[^3..], Is.EqualTo(
            [
                "32 clients in the file: 18 would be made (3 with a new secret), 0 there already, 0 there but different, 9 "
                    + "impossible, 5 left out.",
                "A scope in parentheses is granted only to a request that names it.",
                DryRun,
            ]));
            Assert.That(await LastChangeAsync(), Is.Zero);
            Assert.That(await Database.ReadAsync<int>("select count(*) from token_service.client"), Is.Zero);
        }

        IsWithoutSecrets(shown, SecretsOfKeycloak().Values);
    }

    [Test]
    public async Task Clients_of_Keycloak_get_tokens_with_the_secrets_they_had_there()
    {
        await TwiceAsync(
            "keycloak", "keycloak-realm.json", exitCode: 3,
            "32 clients in the file: 18 made (3 with a new secret), 0 there already, 0 there but different, 9 impossible, 5 left out.",
            "32 clients in the file: 0 made (0 with a new secret), 18 there already, 0 there but different, 9 impossible, 5 left out.");

        await using var server = await TestServer.StartAsync(Database);
        var given = SecretsOfKeycloak();
        foreach (var id in (string[])
            [
                "billing", "urn:acme:ci", "https://jobs.acme.example/nightly?queue={default}", "robot@acme.example", "hmac-signer",
                "odd-secret",
            ])
        {
            var client = new TestClient(id, given[id]);
            (await TokenRequestBuilder.For(client).SendAsync(server)).IsGrant("invoices:read");
            (await TokenRequestBuilder.ByPost(client).SendAsync(server)).IsGrant("invoices:read");
        }

        (await TokenRequestBuilder.For(new("billing", given["billing"])).WithScope("invoices:write").SendAsync(server))
            .IsGrant("invoices:write");
        (await TokenRequestBuilder.For(new("shipping", given["shipping"])).SendAsync(server)).IsGrant("parcels:read");
        (await TokenRequestBuilder.For(new("dunning", given["dunning"])).SendAsync(server)).IsGrant("invoices:read", expiresIn: 120);
        (await TokenRequestBuilder.For(new("legacy-batch", given["legacy-batch"])).SendAsync(server)).IsInvalidClient();
        (await TokenRequestBuilder.For(new("weak", "hunter2")).SendAsync(server)).IsInvalidClient();
        foreach (var (id, secret) in NewSecrets())
            (await TokenRequestBuilder.For(new(id, secret)).SendAsync(server)).IsGrant("invoices:read");
        Assert.That(NewSecrets().Keys, Is.EqualTo(["masked", "vaulted", "without-secret"]));

        var reporting = (await TokenRequestBuilder.For(new("reporting", given["reporting"])).SendAsync(server)).Token;
        var north = (await TokenRequestBuilder.For(new("tenant-north", given["tenant-north"])).SendAsync(server)).Token;
        using (Assert.EnterMultipleScope())
        {
            Assert.That(reporting.Audiences, Is.EqualTo(["orders-api"]));
            Assert.That(
                reporting.GetPayloadValue<JsonElement>("resource_access").GetRawText(),
                Is.EqualTo("""{"orders-api":{"roles":["orders:read","orders:export"]}}"""));
            Assert.That(north.GetPayloadValue<string>("tenant"), Is.EqualTo("north"));
            Assert.That(north.GetPayloadValue<JsonElement>("acme").GetRawText(), Is.EqualTo("""{"limits":{"daily":5}}"""));
            Assert.That(north.GetPayloadValue<int>("level"), Is.EqualTo(3));
        }
    }

    [Test]
    public async Task Clients_that_are_not_wanted_are_left_out_and_one_may_come_without_its_claims()
    {
        var shown = await ImportAsync(
            "keycloak", Export("keycloak-realm.json"), "--skip", "idle", "--no-claims-for", "impostor", "--resource", "shipping-api",
            "--map", "shipping-api=https://shipping.acme.example", "--rename", "inventory-api=billing");

        var lines = shown.Output.Split('\n');
        var sweeper = lines.SkipWhile(line => !line.StartsWith("would make  sweeper", StringComparison.Ordinal))
            .Skip(1).TakeWhile(line => line.Contains("  ! ", StringComparison.Ordinal)).Select(line => line.Trim());
        using (Assert.EnterMultipleScope())
        {
            Assert.That(lines, Has.Member("left out    idle  clients[35]: as you asked"));
            Assert.That(lines, Has.Some.StartsWith("would make  impostor  ").And.None.Contains("shipping-api: "));
            Assert.That(lines, Has.Member("CANNOT      billing  clients[13]: another client of the file has this id; its own was inventory-api"));
            Assert.That(sweeper, Is.EqualTo(
                ["! it has no scope at partner-api, and gets no token for it unless you give it one: --scopes 'NAME …'"]));
            Assert.That(lines, Has.Some.EndsWith("! its access tokens lived 30 s there, and will live 60 s: 1 minute to 1 day is possible"));
            Assert.That(lines, Has.Member("Note: 6 clients that Keycloak makes in each realm, such as account, are ignored."));
        }
    }

    [Test]
    public async Task A_client_of_several_APIs_is_told_which_parameter_names_each()
    {
        var shown = await ImportAsync(
            "keycloak", Export("keycloak-realm.json"), "--skip", "idle", "--scopes", "sweep", "--resource", "shipping-api",
            "--map", "shipping-api=https://shipping.acme.example");

        Assert.That(shown.Output.Split('\n'), Has.Some.EndsWith(
            "! it holds scopes of several APIs: its requests must name one, resource=https://shipping.acme.example or audience=partner-api")
            .Or.Some.EndsWith(
            "! it holds scopes of several APIs: its requests must name one, audience=partner-api or resource=https://shipping.acme.example"));
    }

    // A name that was mistyped would change nothing.
    [TestCase("--rename", "nobody=x", "--rename nobody: no client of the file has this id.")]
    [TestCase("--new-secret-for", "nobody", "--new-secret-for nobody: no client of the file has this id.")]
    [TestCase("--skip", "no body", "--skip 'no body': no client of the file has this id.")]
    [TestCase("--no-claims-for", "nobody", "--no-claims-for nobody: no client of the file has this id.")]
    [TestCase("--map", "nothing=https://x.example", "--map nothing: no client of the file uses an API of this name.")]
    public async Task An_option_for_something_that_is_not_in_the_file_is_refused(string option, string value, string message)
    {
        var tool = await ImportAsync("keycloak", Export("keycloak-realm.json"), option, value);
        Assert.That((tool.ExitCode, tool.Output, tool.Error), Is.EqualTo((1, "", message + "\n")));
    }

    [Test]
    public async Task Options_bring_the_clients_that_the_file_alone_does_not()
    {
        var made = await ImportAsync(
            "keycloak", Export("keycloak-realm.json"), "--apply", "--secrets-file", SecretsFile, "--no-claims",
            "--rename", "inventory-api=inventory", "--rename", "Data Lake "
                + "Loader=data-lake", "--map", "shipping-api=https://shipping.acme.example",
            "--new-secret-for", "jwt-signer", "--new-secret-for", "mtls-gateway", "--new-secret-for", "weak",
            "--new-secret-for", "verbose",
            "--resource", "https://other.acme.example", "--scopes", "jobs:read jobs:run", "--signing-alg", "RS256", "--cores", "1");
        Assert.That((made.ExitCode, made.Output.Split('\n')[^2]), Is.EqualTo(
            (0, "32 clients in the file: 27 made (7 with a new secret), 0 there already, 0 there but different, 0 impossible, 5 "
                + "left out.")));

        await using var server = await TestServer.StartAsync(Database);
        var given = SecretsOfKeycloak();
        Assert.That(
            await Database.ReadAsync<string>("select string_agg(distinct signing_alg, ' ') from "
                + "token_service.resource"), Is.EqualTo("RS256"));
        Assert.That(
            await Database.ReadAsync<string>("select string_agg(id, ' ' order by id collate \"C\") from token_service.resource"),
            Is.EqualTo("https://api.acme.example/invoices https://other.acme.example https://shipping.acme.example inventory-api "
                + "orders-api "
                + "partner-api"));
        Assert.That(
            await Database.ReadAsync<string>(
                "select string_agg(client_id || ' ' || scope, ', ' order by client_id, scope) from token_service.client_scope "
                + "where resource = 'https://other.acme.example'"),
            Is.EqualTo("idle jobs:read, idle jobs:run, sweeper sweep"));
        Assert.That(NewSecrets(), Does.ContainKey("weak").And.ContainKey("jwt-signer"));
        Assert.That(await Database.ReadAsync<int>("select count(*) from token_service.client where extra_claims <> '{}'"), Is.Zero);
        Assert.That(
            (await TokenRequestBuilder.For(new("data-lake", given["Data Lake Loader"])).SendAsync(server)).Status, Is.Not.EqualTo(401));
    }

    [Test]
    public async Task Clients_of_Auth0_get_tokens_with_the_secrets_they_had_there()
    {
        await TwiceAsync(
            "auth0", "auth0-tenant.json", exitCode: 3,
            "8 clients in the file: 4 made (1 with a new secret), 0 there already, 0 there but different, 3 impossible, 1 left out.",
            "8 clients in the file: 0 made (0 with a new secret), 4 there already, 0 there but different, 3 impossible, 1 left out.");

        await using var server = await TestServer.StartAsync(Database);
        var clients = Read("auth0-tenant.json").GetProperty("clients").EnumerateArray()
            .Where(client => client.TryGetProperty("client_secret", out _))
            .ToDictionary(
                client => client.GetProperty("name").GetString()!,
                client => new TestClient(client.GetProperty("client_id").GetString()!, client.GetProperty("client_secret").GetString()!));
        // Auth0 grants all scopes to a request that names only the API.
        (await TokenRequestBuilder.ByPost(clients["Backend of the portal"]).With("audience", "parcels").SendAsync(server))
            .IsGrant("read:parcels");
        (await TokenRequestBuilder.For(clients["Report job"]).With("audience", "parcels").SendAsync(server)).IsGrant("read:parcels");
        // The Deploy CLI names the client of a grant by its name.
        Assert.That(
            await Database.ReadAsync<string>(
                "select string_agg(scope, ' ' order by scope) from token_service.client_scope where client_id = @Id",
                clients["Report job"]),
            Is.EqualTo("read:invoices read:parcels"));
        Assert.That(
            await Database.ReadAsync<string>("select string_agg(concat_ws(' ', id, signing_alg), ', ' order by id) from "
                + "token_service.resource"),
            Is.EqualTo("https://invoices.acme.example/ RS256, parcels"));
    }

    [Test]
    public async Task Clients_of_Hydra_get_tokens_with_the_secrets_that_somebody_still_has()
    {
        await TwiceAsync(
            "hydra", "hydra-clients.json", exitCode: 3,
            "10 clients in the file: 6 made (3 with a new secret), 0 there already, 0 there but different, 2 impossible, 2 left out.",
            "10 clients in the file: 0 made (0 with a new secret), 6 there already, 0 there but different, 2 impossible, 2 left out.");

        await using var server = await TestServer.StartAsync(Database);
        var items = Read("hydra-clients.json").GetProperty("items").EnumerateArray().ToList();
        var (billing, poster) = (ToClient(items[0]), ToClient(items[1]));
        (await TokenRequestBuilder.For(billing).WithScope("invoices:read").With("audience", "https://api.acme.example").SendAsync(server))
            .IsGrant("invoices:read");
        (await TokenRequestBuilder.ByPost(billing).WithScope("invoices:read").SendAsync(server)).IsInvalidClient();
        (await TokenRequestBuilder.ByPost(poster).WithScope("invoices:read").SendAsync(server)).IsGrant("invoices:read", expiresIn: 3600);
        foreach (var (id, secret) in NewSecrets())
            (await TokenRequestBuilder.For(new(id, secret)).WithScope("invoices:read").SendAsync(server)).IsGrant("invoices:read");
        Assert.That(NewSecrets(), Has.Count.EqualTo(3).And.ContainKey("digested").And.ContainKey("older"));
    }

    [Test]
    public async Task Clients_of_a_CSV_file_get_tokens_with_the_secrets_they_had()
    {
        await TwiceAsync(
            "csv", "clients.csv", exitCode: 0,
            "5 clients in the file: 5 made (1 with a new secret), 0 there already, 0 there but different, 0 impossible, 0 left out.",
            "5 clients in the file: 0 made (0 with a new secret), 5 there already, 0 there but different, 0 impossible, 0 left out.");

        await using var server = await TestServer.StartAsync(Database);
        var quotes = new TestClient("csv-quotes", "a \"secret\", of two\r\nlines");
        (await TokenRequestBuilder.ByPost(quotes).WithScope("invoices:read").SendAsync(server)).IsGrant("invoices:read");
        (await TokenRequestBuilder.For(quotes).WithScope("invoices:read").SendAsync(server)).IsInvalidClient();
        (await TokenRequestBuilder.For(new("csv-new", NewSecrets()["csv-new"])).SendAsync(server)).IsGrant("invoices:read");
        Assert.That(
            await Database.ReadAsync<string>("select name from token_service.client where id = 'csv-quotes'"),
            Is.EqualTo("The \"quoted\"\r\nservice"));
    }

    [Test]
    public async Task A_client_that_is_there_in_another_form_is_reported_and_left_as_it_is()
    {
        await ImportAsync("csv", Export("clients.csv"), "--apply", "--secrets-file", SecretsFile);
        await Database.ExecuteAsync(
            """
            select token_service.update_client('csv-billing', 'Another name', '1 minute', array['client_secret_post'], '{"a": 1}');
            select token_service.set_client_enabled('csv-billing', false);
            select token_service.revoke_scope('csv-billing', 'parcels:read');
            select token_service.grant_scope('csv-billing', 'invoices:write', true);
            """);
        var before = await LastChangeAsync();

        var again = await ImportAsync("csv", Export("clients.csv"), "--apply");

        using (Assert.EnterMultipleScope())
        {
            Assert.That(again.ExitCode, Is.EqualTo(3));
            Assert.That(again.Output.Split('\n')[0], Is.EqualTo(
                "DIFFERS     csv-billing  line 2: there is such a client, and it was left as it is: its name is another; it is "
                    + "disabled; it "
                + "authenticates by client_secret_post; its tokens live 60 s; its extra claims are others; it has invoices:write of "
                + "https://api.acme.example by default; it lacks invoices:write of https://api.acme.example, parcels:read of parcels"));
            Assert.That(await LastChangeAsync(), Is.EqualTo(before));
        }
    }

    private async Task TwiceAsync(string from, string file, int exitCode, string first, string second)
    {
        var made = await ImportAsync(from, Export(file), "--apply", "--secrets-file", SecretsFile);
        var (change, secrets) = (await LastChangeAsync(), File.ReadAllText(SecretsFile));
        var again = await ImportAsync(from, Export(file), "--apply", "--secrets-file", SecretsFile);

        using (Assert.EnterMultipleScope())
        {
            Assert.That((made.ExitCode, made.Output.Split('\n')[^2]), Is.EqualTo((exitCode, first)), made.Error);
            Assert.That((again.ExitCode, again.Output.Split('\n')[^2]), Is.EqualTo((exitCode, second)), again.Error);
            Assert.That(await LastChangeAsync(), Is.EqualTo(change), "the second import changed nothing");
            Assert.That(File.ReadAllText(SecretsFile), Is.EqualTo(secrets));
            Assert.That(File.GetUnixFileMode(SecretsFile), Is.EqualTo(UnixFileMode.UserRead | UnixFileMode.UserWrite));
        }

        IsWithoutSecrets(made, NewSecrets().Values);
    }

    private static void IsWithoutSecrets(Tool tool, IEnumerable<string> secrets)
    {
        foreach (var secret in secrets)
            Assert.That(tool.Output + tool.Error, Does.Not.Contain(secret));
    }

    private static Dictionary<string, string> SecretsOfKeycloak() => Read("keycloak-realm.json").GetProperty("clients").EnumerateArray()
        .Where(client => client.TryGetProperty("secret", out _))
        .ToDictionary(client => client.GetProperty("clientId").GetString()!, client => client.GetProperty("secret").GetString()!);

    private static TestClient ToClient(JsonElement client) =>
        new(client.GetProperty("client_id").GetString()!, client.GetProperty("client_secret").GetString()!);

    private static JsonElement Read(string name) => JsonElement.Parse(File.ReadAllText(Export(name)));
}
